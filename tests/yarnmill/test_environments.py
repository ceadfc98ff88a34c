from pathlib import Path

import pytest

from yarnmill import environments
from yarnmill.config import load_config
from yarnmill.wheels import load_recipe, wheel_folder


@pytest.mark.parametrize("name", environments.NAMES)
def test_a_lock_pins_every_version_with_a_hash(name: environments.Name) -> None:
    lines = environments.lock_text(name).splitlines()
    pins = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert sum("--hash=sha256:" in line for line in lines) >= len(pins)


@pytest.mark.parametrize("name", environments.NAMES)
def test_an_environment_is_named_by_its_lock_and_lives_in_the_user_cache(
    name: environments.Name, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = environments.folder(name)
    assert here.parent == tmp_path / "yarnmill" / "environments"
    assert environments.python_of(name) == here / "bin" / "python"
    assert not environments.is_built(name)


def test_horovod_is_compiled_against_what_its_lock_pins() -> None:
    recipe = load_recipe("horovod")
    assert recipe is not None
    assert wheel_folder(recipe, environments.lock_text("horovod")).name.startswith("horovod-0.28.1-")
    assert load_recipe("training") is None


def test_an_environment_without_its_mark_of_completion_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    python = environments.python_of("training")
    python.parent.mkdir(parents=True)
    python.touch()
    assert not environments.is_built("training")


def test_the_configuration_takes_the_cached_training_environment_unless_told() -> None:
    assert load_config().training_python == str(environments.python_of("training"))
    assert load_config(overrides=["training.python=/opt/env/bin/python"]).training_python == "/opt/env/bin/python"


def test_the_downloads_announced_were_measured() -> None:
    sizes = environments.downloads()
    assert min(sizes.platform_mib, sizes.training_mib, sizes.horovod_mib, sizes.hadoop_mib) > 10
