"""What must not be loaded where: import-linter cannot see a parent package's ``__init__``, a fresh process can."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("pyspark", "skein", "flask", "mlflow", "tensorflow", "torch", "onnxruntime", "numba", "pandas")
ALLOWED = {
    "yarnmill.errors": (),
    "yarnmill.config": (),
    "yarnmill.fs": (),
    "yarnmill.tables": (),
    "yarnmill.blobs": (),
    "yarnmill.bundle": (),
    "yarnmill.registry": (),
    "yarnmill.localcluster": (),
    "yarnmill.cli.main": (),
    "photon": ("numba",),
    "jobs": (),
    "oozie": (),
    "tony_py": (),
    "tony_py.executor": (),
    "serving": ("flask", "onnxruntime", "numba"),
}


@pytest.mark.programs
@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_loads_nothing_heavy_that_it_must_not_know(package: str) -> None:
    program = f"import sys, {package}; print(' '.join(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(ALLOWED[package])


def test_no_test_folder_hides_a_package() -> None:
    assert not list(Path(__file__).parent.rglob("__init__.py"))


def test_no_script_hides_a_module_that_others_import() -> None:
    # spark-submit and ``python jobs/x.py`` put the script's folder first on sys.path.
    root = Path(__file__).parents[1]
    taken = sys.stdlib_module_names | {one.parent.name for one in root.glob("*/__init__.py")}
    assert not {one.stem for one in (root / "jobs").iterdir()} & taken
