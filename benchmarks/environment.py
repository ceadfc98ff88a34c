"""What a Python environment costs a submission: looked through, hashed, packed.

    python benchmarks/environment.py FOLDER [--no-pack]

The first line is paid by every submission, the second and third once for each content. Packing goes to
nowhere, so that no disk and no network is measured. Prints the machine's load: on a busy one the figures
mean little.
"""

import argparse
import os
import time
from pathlib import Path

from yarnmill.relocation import environment_members
from yarnmill.tarballs import content_digest, signature, write_tarball
from yarnmill.units import render_bytes, render_seconds


class Nowhere:
    """Takes bytes and counts them."""

    def __init__(self) -> None:
        self.taken = 0

    def write(self, data: bytes) -> int:
        """Count the bytes."""
        self.taken += len(data)
        return len(data)

    def flush(self) -> None:
        """Have nothing to write."""


def main() -> None:
    """Print one line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-pack", action="store_true", help="leave the packing out")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load before: {os.getloadavg()[0]:.1f}")
    began = time.perf_counter()
    members = environment_members(arguments.folder)
    signature(members)
    looked_s = time.perf_counter() - began
    size = render_bytes(sum(member.size_bytes for member in members))
    print(f"looked through: {render_seconds(looked_s)} ({len(members)} files, {size})")
    began = time.perf_counter()
    content_digest(members)
    print(f"hashed:         {render_seconds(time.perf_counter() - began)}")
    if not arguments.no_pack:
        nowhere = Nowhere()
        began = time.perf_counter()
        write_tarball(members, nowhere)  # type: ignore[arg-type]  # it only writes
        print(f"packed:         {render_seconds(time.perf_counter() - began)} ({render_bytes(nowhere.taken)})")


if __name__ == "__main__":
    main()
