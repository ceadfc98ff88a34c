"""Skein's own command, as somebody uses it who has a plan and no YarnMill."""

import subprocess
import sys
from pathlib import Path

from waiting import eventually

from tony_py import client
from yarnmill import yarn


def run_plan(plan: Path) -> str:
    """Submit a plan by ``skein application submit``, wait for the application's end and return its id."""
    with client.skein_client():  # makes the user's certificate if there is none yet
        pass
    skein = str(Path(sys.executable).with_name("skein"))
    command = [skein, "application", "submit", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    application_id = done.stdout.split()[-1]
    assert eventually(lambda: yarn.application(application_id).is_finished, 400.0)
    return application_id
