import socket
from pathlib import Path

import pytest

from yarnmill.errors import BadDataError
from yarnmill.localcluster import ports

NAMES = ("namenode-rpc", "namenode-web", "datanode-rpc")


def test_chosen_ports_are_distinct_and_can_be_bound() -> None:
    chosen = ports.choose(NAMES, {}, seed="a")
    assert list(chosen) == list(NAMES)
    assert len(set(chosen.values())) == len(NAMES)
    assert all(ports.is_free(port) for port in chosen.values())


def test_a_restart_keeps_its_addresses() -> None:
    first = ports.choose(NAMES, {}, seed="a")
    assert ports.choose(NAMES, first, seed="another") == first


def test_a_port_that_was_taken_meanwhile_is_replaced_and_the_others_stay() -> None:
    first = ports.choose(NAMES, {}, seed="a")
    with socket.create_server(("127.0.0.1", first["namenode-web"])):
        second = ports.choose(NAMES, first, seed="a")
    assert second["namenode-web"] not in first.values()
    assert {name: port for name, port in second.items() if name != "namenode-web"} == {
        name: port for name, port in first.items() if name != "namenode-web"
    }


def test_names_that_are_no_longer_wanted_are_forgotten() -> None:
    assert list(ports.choose(NAMES[:1], {"old-rpc": 15001}, seed="a")) == ["namenode-rpc"]


def test_two_homes_begin_to_look_at_different_places() -> None:
    assert ports.choose(NAMES, {}, seed="/home/a") != ports.choose(NAMES, {}, seed="/home/b")


def test_remembered_ports_come_back(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    assert ports.load(file) == {}
    ports.save(file, {"a": 1, "b": 2})
    assert ports.load(file) == {"a": 1, "b": 2}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    file.write_text('{"a": "x"}')
    with pytest.raises(BadDataError, match=str(file)):
        ports.load(file)
