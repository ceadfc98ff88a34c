"""The commands of a guide, as somebody types them who follows it from its beginning to its end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def script_of(guide: str, language: str = "sh") -> str:
    """Return the fenced blocks of a language, one after the other, as one script."""
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", guide, re.MULTILINE | re.DOTALL))


def with_refusals(script: str, count: int) -> str:
    """Return a script that fails where one of its ``count`` lines after ``! `` succeeds: a shell takes no notice."""
    refused = [line for line in script.splitlines() if line.startswith("! ")]
    assert len(refused) == count
    for line in refused:
        script = script.replace(line, f"if {line[2:]}; then exit 9; fi")
    return script


def with_commands(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that finds the commands which are installed beside this Python before all others."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path}


def run_script(script: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the lines as one shell would that stops at the first failure; fail with what they said if they do."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
    )
    assert done.returncode == 0, f"{script}\n---\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def run_guide_of_servers(guide: Path, folder: Path, *pid_files: str) -> subprocess.CompletedProcess[str]:
    """Run a guide that starts servers and stops them again; what it left is ended, and fails it.

    Parameters
    ----------
    guide
        Its file.
    folder
        Where it is followed.
    pid_files
        Where it has each server write its process id, and what a server takes away as it ends.
    """
    found = [folder / name for name in pid_files]
    try:
        done = run_script(script_of(guide.read_text()), folder, with_commands(os.environ))
        assert not any(one.exists() for one in found)
    finally:
        for one in found:
            if one.exists():
                os.kill(int(one.read_text()), signal.SIGTERM)
    return done
