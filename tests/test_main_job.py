"""The main job as a stranger runs it: from nothing, again, then by hand as the guide says, then gone."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guides import run_script, script_of, with_commands

from yarnmill.cli.demo_report import DemoReport
from yarnmill.records import parse_json

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

HOME = "build/demo-test/home"


def demo(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("yarnmill")), "demo", *arguments, "--home", HOME]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, env=clean_environment())


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what the session's own cluster put there."""
    ours = ("HADOOP", "YARN", "JAVA_HOME", "PYSPARK", "SPARK", "SKEIN")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return with_commands(kept)


def report_of(repository: Path) -> DemoReport:
    path = repository / HOME / ".." / "report.json"
    return parse_json(path.read_bytes(), DemoReport, source=str(path))


@pytest.fixture(scope="module")
def first_run(repository: Path, training_python: Path) -> Iterator[DemoReport]:  # noqa: ARG001  # built before the clock
    shutil.rmtree(repository / HOME, ignore_errors=True)
    done = demo(repository, "run", "--keep")
    try:
        assert done.returncode == 0, done.stderr[-4000:]
        yield report_of(repository)
    finally:
        stopped = demo(repository, "down")
        assert stopped.returncode == 0, stopped.stderr
        assert processes_naming(str(repository / HOME)) == []


def processes_naming(text: str) -> list[str]:
    """Return the command lines of all processes, this one's ancestors excepted, that name ``text``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command and int(entry.parent.name) != os.getpid():
            found.append(command)
    return found


def test_every_step_was_done_on_real_applications(first_run: DemoReport) -> None:
    assert first_run.state == "succeeded"
    # The fixture has built the training environment before.
    assert {step.state for step in first_run.steps if step.name != "training environment"} == {"done"}
    assert {app.name for app in first_run.apps} >= {"build_training_set", "train_glmix", "score"}
    assert len(first_run.apps) == 5
    for app in first_run.apps:
        assert re.fullmatch(r"application_\d+_\d+", app.yarn_application_id)
        assert app.final_status == "SUCCEEDED"


def test_glmix_beats_the_global_effect_which_beats_the_mean(first_run: DemoReport) -> None:
    models = {model.flavour: model for model in first_run.models}
    baselines = {baseline.name: baseline for baseline in first_run.baselines}
    assert set(models) == {"glmix", "torch", "tensorflow"}
    glmix, alone, mean = models["glmix"], baselines["global_only"], baselines["global_mean"]
    assert glmix.test_log_loss < alone.test_log_loss < mean.test_log_loss
    assert glmix.test_auc > alone.test_auc > mean.test_auc == 0.5
    # What one process with SciPy reaches with genres and years alone.
    assert glmix.test_auc >= 0.783
    assert glmix.test_log_loss <= 0.562
    assert all(re.fullmatch(r"[0-9a-f]{64}", model.bundle_id) for model in first_run.models)


def test_rest_answers_equal_batch_scores(first_run: DemoReport) -> None:
    assert {row.model for row in first_run.serving} == {model.name for model in first_run.models}
    for row in first_run.serving:
        assert row.rows_compared >= 1000
        assert row.max_abs_diff <= row.tolerance <= 1e-5


def test_a_second_run_has_nothing_to_do_and_says_so(repository: Path, first_run: DemoReport) -> None:
    done = demo(repository, "run", "--keep")
    assert done.returncode == 0, done.stderr[-4000:]
    again = report_of(repository)
    working = ("load MovieLens", "training set", "train ", "publish ", "score ")
    assert {step.state for step in again.steps if step.name.startswith(working)} == {"up to date"}
    assert [model.bundle_id for model in again.models] == [model.bundle_id for model in first_run.models]
    assert [app.yarn_application_id for app in again.apps] == [app.yarn_application_id for app in first_run.apps]


@pytest.mark.usefixtures("first_run")
def test_every_command_of_the_guide_works(repository: Path) -> None:
    guide = (repository / "docs" / "main-job.md").read_text().replace("build/demo/home", HOME)
    run_script(script_of(guide), repository, clean_environment())


def test_every_command_about_the_local_cluster_works(repository: Path) -> None:
    guide = (repository / "docs" / "local-cluster.md").read_text()
    try:
        run_script(script_of(guide), repository, clean_environment())
    finally:  # also where a command in the middle failed
        run_script("yarnmill cluster down --home build/docs", repository, clean_environment())


def test_every_make_target_of_the_readme_exists(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    for target in sorted(set(re.findall(r"\bmake ([a-z][a-z-]+)", readme))):
        done = subprocess.run(["make", "-n", target], cwd=repository, capture_output=True, text=True, check=False)  # noqa: S607
        assert done.returncode == 0, f"make {target}: {done.stderr}"


def test_the_report_is_plain_json(repository: Path, first_run: DemoReport) -> None:
    plain: dict[str, Any] = json.loads((repository / HOME / ".." / "report.json").read_text())
    assert {"steps", "apps", "models", "baselines", "serving"} <= set(plain)
    assert first_run.schema_version == plain["schema_version"]


def test_models_are_measured_within_users_too(first_run: DemoReport) -> None:
    per_user = {model.flavour: model.test_log_loss_per_user for model in first_run.models}
    assert all(loss is not None and 0.0 < loss < 0.698 for loss in per_user.values())
    assert {base.name for base in first_run.baselines if base.test_auc_per_user is not None} == {"global_only"}
