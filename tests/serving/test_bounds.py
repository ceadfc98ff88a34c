"""What the tier's parts must not load, and what its log adds."""

import subprocess
import sys

import pytest

from serving.accesslog import TierLogger

NEVER = ("pyspark", "skein", "tensorflow", "torch", "mlflow", "pandas", "sklearn")


def loaded_by(program: str) -> set[str]:
    """Return which of the heavy packages a fresh process has loaded after ``program``."""
    program += f"\nimport sys; print(' '.join(name for name in {(*NEVER, 'onnxruntime')!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.programs
def test_the_whole_tier_needs_no_training_framework() -> None:
    modules = "serving.server, serving.app, serving.follower, serving.accesslog, yarnmill.cli.serve"
    assert loaded_by(f"import {modules}, yarnmill.flavours.onnx") == {"onnxruntime"}


@pytest.mark.programs
def test_the_parent_of_the_workers_starts_no_runtime() -> None:
    assert loaded_by("import serving.server, serving.app, serving.follower, serving.accesslog") == set()


def test_the_access_log_names_what_predicted_and_who_asked() -> None:
    assert dict(TierLogger.extra) == {
        "yarnmill.model": "model",
        "yarnmill.version": "version",
        "yarnmill.rows": "rows",
        "yarnmill.who": "who",
    }
