"""What the Python of an environment's folder says of itself, asked by running it."""

import json
import subprocess
from pathlib import Path
from typing import Final

from yarnmill.errors import ConfigurationError
from yarnmill.records import Record, convert

_TIMEOUT_S: Final = 60.0
_QUESTION: Final = """
import json, sys, sysconfig
print(json.dumps({
    "executable": getattr(sys, "_base_executable", sys.executable),
    "prefix": sys.base_prefix,
    "version": "%d.%d" % sys.version_info[:2],
    "stdlib": sysconfig.get_path("stdlib"),
    "modules": sysconfig.get_config_var("DESTSHARED") or "",
    "include": sysconfig.get_config_var("INCLUDEPY") or "",
    "libraries": (sysconfig.get_config_var("LIBDIR") or "") if sysconfig.get_config_var("Py_ENABLE_SHARED") else "",
}))
"""


class Interpreter(Record, frozen=True, kw_only=True):
    """The Python that an environment stands on.

    Parameters
    ----------
    executable
        Its program, links not resolved.
    prefix
        The folder that it was installed to.
    version
        Such as ``3.11``.
    stdlib, modules, include
        Folders of the standard library, of its compiled modules, and of the C headers.
    libraries
        Folder of the shared ``libpython``; empty where the program holds it itself.
    """

    executable: str
    prefix: str
    version: str
    stdlib: str
    modules: str
    include: str
    libraries: str


def ask_interpreter(folder: Path) -> Interpreter:
    """Return what ``bin/python`` of an environment is.

    Raises
    ------
    ConfigurationError
        If there is none, or it does not run here.
    """
    program = folder / "bin" / "python"
    if not program.is_symlink() and not program.is_file():
        raise ConfigurationError(
            f"{folder}: holds no bin/python",
            expected="the folder of a virtual or conda environment",
            mend="name the environment's own folder, such as .venv",
        )
    try:
        # Isolated and without site-packages: what is installed there has no say.
        done = subprocess.run(
            [str(program), "-I", "-S", "-c", _QUESTION],
            capture_output=True,
            text=True,
            check=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        said = getattr(problem, "stderr", "") or str(problem)
        raise ConfigurationError(
            f"{program}: does not run here ({said.strip()[-300:]})", mend="make the environment again on this machine"
        ) from None
    return convert(json.loads(done.stdout), Interpreter, source=str(program))
