"""What a job says while it works: lines of the driver's standard output, which YARN keeps among its logs."""

import sys


def say(job: str, line: str) -> None:
    """Write a line at once: whoever looks into a run that goes on sees how far it is."""
    sys.stdout.write(f"{job}: {line}\n")
    sys.stdout.flush()
