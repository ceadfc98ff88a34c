"""A .pex file's packages as an environment with a Python of its own, for programs that just say ``python``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def install(folder: str, pex_root: str) -> None:
    """Make ``folder`` an environment with the packages of the .pex file that this code runs in.

    A .pex file reaches its own process only, while a program's children, ``torchrun`` among them, want a
    ``python`` on the path. One that was built with ``--venv`` has become an environment by now.

    Parameters
    ----------
    folder
        The folder to make.
    pex_root
        Where the .pex file unpacked itself, its ``PEX_ROOT``, which it hides from the code inside.
    """
    root = os.path.realpath(pex_root)
    if os.path.realpath(sys.prefix).startswith(root + os.sep):
        Path(folder).symlink_to(sys.prefix)
        return
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", "--symlinks", folder], check=True)
    own = [path for path in sys.path if _is_below(path, root) and not path.endswith(".bootstrap")]
    packages = Path(folder, "lib", "python{}.{}".format(*sys.version_info[:2]), "site-packages")
    (packages / "pex.pth").write_text("".join(f"{path}\n" for path in own))


def _is_below(path: str, root: str) -> bool:
    return os.path.realpath(path).startswith(root + os.sep)
