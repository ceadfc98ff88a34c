"""Databases that cannot be meant, are no database, or go away in the middle."""

import threading
from collections.abc import Sized
from pathlib import Path

import psycopg
import pytest
from postgresql import running_postgres
from registered import bundle
from waiting import eventually

from yarnmill.errors import ClusterUnavailableError, ConfigurationError, YarnMillError
from yarnmill.registry import Candidate, Registry
from yarnmill.registry.engine import open_engine
from yarnmill.registry.migrate import migrate


@pytest.mark.parametrize("bad", ["not a url", "mysteries://x/y", "postgresql+nodriver://x/y"])
def test_a_url_that_cannot_be_meant_names_its_key(bad: str) -> None:
    with pytest.raises(ConfigurationError, match=r"registry\.url"):
        Registry(bad)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"this is not a database, it is a sentence" * 100)
    with pytest.raises(YarnMillError, match="not a database"):
        Registry(f"sqlite:///{tmp_path / 'registry.db'}")


def test_a_folder_in_the_databases_place_may_be_mended(tmp_path: Path) -> None:
    (tmp_path / "registry.db").mkdir()
    with pytest.raises(ClusterUnavailableError, match="unable to open"):
        Registry(f"sqlite:///{tmp_path / 'registry.db'}")


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(ClusterUnavailableError) as told:
        Registry("postgresql+psycopg://ana:secret@127.0.0.1:1/registry")
    assert "secret" not in str(told.value)
    assert "127.0.0.1:1" in str(told.value)


@pytest.mark.programs
def test_connections_that_are_cut_are_made_again(postgres: str, migrated_postgres: str, candidate: Candidate) -> None:
    registry = Registry(migrated_postgres)
    version = registry.versions.register(candidate)
    name = migrated_postgres.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(postgres, autocommit=True) as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        assert connection.execute(cut, [name]).fetchall()  # the pool's own are among them
    assert registry.versions.find("rater") == [version]
    registry.close()


def grows(things: Sized) -> None:
    """Wait until somebody adds some."""
    before = len(things)
    assert eventually(lambda: len(things) > before + 3)


@pytest.mark.programs
def test_a_server_restarted_in_the_middle_loses_nothing_that_was_confirmed(candidate: Candidate) -> None:
    with running_postgres() as server:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()
        registry = Registry(url)
        confirmed: list[str] = []
        refused: list[YarnMillError] = []
        done = threading.Event()

        def publish() -> None:
            number = 0
            while not done.is_set():
                number += 1
                try:
                    confirmed.append(registry.versions.register(bundle(candidate, number)).bundle_id)
                except YarnMillError as problem:
                    refused.append(problem)

        publisher = threading.Thread(target=publish)
        publisher.start()
        for _ in range(2):
            grows(confirmed)
            server.stop()
            grows(refused)
            server.start()
        grows(confirmed)
        done.set()
        publisher.join()
        versions = registry.versions.find("rater")
        registry.close()
    assert {type(problem) for problem in refused} == {ClusterUnavailableError}
    assert set(confirmed) <= {version.bundle_id for version in versions}
    assert [version.version for version in versions] == list(range(1, len(versions) + 1))
