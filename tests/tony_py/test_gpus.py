"""Which devices a container gets, and what they are used for.

No machine that runs these tests has GPUs: a script in place of ``nvidia-smi`` says what the real one said on a host
with an H200, and what its manual has for one that is cut into instances.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tony_py.executor.gpus import Gpus

Containers = Callable[..., Gpus]

IDLE = "0, 0, 0\n1, 0, 0\n"
BUSY = "0, 4681, 67\n1, 1000, 33\n2, 80000, 100\n"


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``nvidia-smi`` says: a file, which may be written anew."""
    text, script = tmp_path / "text", tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec cat "{text}"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    text.write_text(IDLE)
    return text


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Containers]:
    """Makes containers of one host, which end with the test."""
    made: list[Gpus] = []

    def make(asked: int, **environ: str) -> Gpus:
        made.append(Gpus(asked, {"TONY_GPU_LOCKS": str(tmp_path / "locks"), **environ}))
        return made[-1]

    yield make
    for one in made:
        one.let_go()


@pytest.mark.usefixtures("says")
def test_containers_of_one_host_take_different_devices(container: Containers) -> None:
    found = [container(1).environment() for _ in range(3)]
    assert found == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_VISIBLE_DEVICES": ""}]


@pytest.mark.usefixtures("says")
def test_a_device_is_free_again_when_its_container_ends(container: Containers) -> None:
    first = container(1)
    assert first.devices == ["0"]
    first.let_go()
    assert container(1).devices == ["0"]


@pytest.mark.usefixtures("says")
def test_a_container_that_sees_only_its_devices_takes_no_locks(container: Containers, tmp_path: Path) -> None:
    assert container(2).devices == ["0", "1"]
    assert not (tmp_path / "locks").exists()


@pytest.mark.usefixtures("says")
def test_a_container_without_gpus_is_kept_from_those_that_are_there(container: Containers) -> None:
    assert container(0).environment() == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.usefixtures("says")
def test_a_host_that_names_its_devices_needs_no_nvidia_smi(container: Containers) -> None:
    found = container(1, TONY_GPU_DEVICES="4,5")
    assert found.environment() == {"CUDA_VISIBLE_DEVICES": "4"}
    assert found.usage() == (0.0, 0.0)


def test_a_host_without_gpus_is_left_as_it_is(
    container: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert container(1).environment() == {}
    assert container(1).usage() == (0.0, 0.0)


def test_use_is_that_of_the_containers_own_devices(says: Path, container: Containers) -> None:
    says.write_text(BUSY)
    mine = container(2)
    assert mine.devices == ["0", "1"]
    assert mine.usage() == (5681.0, 0.5)


def test_a_device_whose_use_cannot_be_told_counts_as_unused(says: Path, container: Containers) -> None:
    says.write_text("0, 512, [N/A]\n")
    assert container(1).usage() == (512.0, 0.0)
