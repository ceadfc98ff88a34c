"""For programs that are not in Python: ``python -m tony_task report --step 3 --total 10``, and the like."""

from __future__ import annotations

import argparse
import sys

from . import latest_checkpoint, read_output, report, save_checkpoint, save_output


def main() -> int:
    """Do what the command line asks for; return the exit status."""
    options = _parser().parse_args()
    try:
        return int(options.act(options))
    except (OSError, ValueError) as problem:
        print(f"tony_task: {problem}", file=sys.stderr)  # noqa: T201  # a command
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tony_task", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tell = commands.add_parser("report", help="say how far the program is")
    tell.add_argument("--step", type=int)
    tell.add_argument("--total", type=int)
    tell.add_argument("--checkpoint", type=int)
    tell.add_argument("--message")
    tell.add_argument("--metric", action="append", default=[], metavar="NAME=NUMBER", type=_metric)
    tell.set_defaults(act=_report)
    save = commands.add_parser("save-checkpoint", help="save a file or folder as the state after a step")
    save.add_argument("step", type=int)
    save.add_argument("path")
    save.set_defaults(act=_save)
    load = commands.add_parser("load-checkpoint", help="copy the newest checkpoint to a path and print its step")
    load.add_argument("path")
    load.set_defaults(act=_load)
    put = commands.add_parser("save-output", help="put a file or folder into the application's output")
    put.add_argument("name")
    put.add_argument("path")
    put.set_defaults(act=_put)
    get = commands.add_parser("read-output", help="print a file of the application's output")
    get.add_argument("name")
    get.set_defaults(act=_get)
    return parser


def _metric(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    return name, float(number)


def _report(options: argparse.Namespace) -> int:
    report(
        step=options.step,
        total=options.total,
        checkpoint=options.checkpoint,
        message=options.message,
        metrics=dict(options.metric),
    )
    return 0


def _save(options: argparse.Namespace) -> int:
    save_checkpoint(options.step, options.path)
    return 0


def _put(options: argparse.Namespace) -> int:
    save_output(options.name, options.path)
    return 0


def _get(options: argparse.Namespace) -> int:
    sys.stdout.buffer.write(read_output(options.name))
    return 0


def _load(options: argparse.Namespace) -> int:
    """Exit status 3 tells that there is none yet."""
    latest = latest_checkpoint()
    if latest is None:
        return 3
    latest.copy_to(options.path)
    print(latest.step)  # noqa: T201  # a command
    return 0


sys.exit(main())
