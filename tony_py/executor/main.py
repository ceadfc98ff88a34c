"""The executor's life: hold ports, register, wait for everybody, run the program, say how it ended; and again.

An executor outlives its program: when the gang starts over it ends the program, registers with fresh ports
and runs the next generation in the same container. One that has lost its driver ends its program and itself,
so that nothing is left on the node.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

from tony_py.executor import stacks
from tony_py.executor.channel import Channel, RefusedError
from tony_py.executor.descendants import adopt_orphans
from tony_py.executor.gpus import Gpus
from tony_py.executor.library import python_path
from tony_py.executor.ports import HeldPorts
from tony_py.executor.program import Programs
from tony_py.executor.pulse import HEARTBEAT_S, Pulse
from tony_py.executor.rendezvous import Rendezvous, is_elastic, is_horovod
from tony_py.executor.source import SOURCE_ARCHIVE, unpack_source
from tony_py.executor.usage import Meter

_CERTIFICATE = ".skein.crt"
_KEY = ".skein.pem"
_PROGRESS = "tony_progress.json"
_POLL_S = 20.0
_LOST_EXIT_CODE = 75  # sysexits.h: a temporary failure
_SECRETS = ("TONY_TOKEN",)
_WAIT_S = 0.1


class LostError(Exception):
    """The driver has not answered for too long, or refuses this executor."""


def program_environment(variables: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the program's variables: the container's without its secrets, this Python first on PATH, then its own."""
    env = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    binaries = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([binaries, env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONFAULTHANDLER"] = "1"  # so that the stacks of one that hangs can be had
    env["TONY_CONTAINER_DIR"] = str(folder)
    env["TONY_PROGRESS_FILE"] = str(folder / _PROGRESS)
    env.update(variables)
    env["PYTHONPATH"] = python_path(env.get("PYTHONPATH", ""))
    return env


class Executor:
    """One container's task.

    Parameters
    ----------
    folder
        The container's working folder.
    environ
        Its variables: the task, where the driver is, the application's token.
    """

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._folder = folder
        self._environ = environ
        self._task, self._attempt = environ["TONY_TASK"], int(environ["TONY_ATTEMPT"])
        self._timeout_s = float(environ.get("TONY_HEARTBEAT_TIMEOUT_S", "15"))
        address, token = environ["TONY_COORDINATOR"], environ["TONY_TOKEN"]
        self._driver = (address, token, str(folder / _CERTIFICATE), str(folder / _KEY))
        self._channel = self._open_channel()
        self._gpus = Gpus(int(environ.get("TONY_GPUS", "0")), environ)
        self._meter = Meter(self._gpus)
        self._pulse = Pulse(
            self._open_channel(),
            self._task,
            self._attempt,
            timeout_s=self._timeout_s,
            progress_file=folder / _PROGRESS,
            usage=self._meter.latest,
        )
        self._status = 0

    def run(self) -> int:
        """Run generation after generation until the driver says stop; return the container's exit status."""
        adopt_orphans()
        try:
            unpack_source(self._folder / SOURCE_ARCHIVE, self._folder / "source")
            self._meter.start()
            while not self._pulse.must_stop:
                self._run_generation()
            self._say("/v1/exit", {"generation": 0, "exit_code": 0, "was_told": True})
        except (LostError, RefusedError) as problem:
            print(f"executor {self._task}: {problem}", file=sys.stderr)  # noqa: T201  # the container's log is where it is looked for
            return _LOST_EXIT_CODE
        finally:
            self._pulse.finish()
            self._meter.finish()
            self._gpus.let_go()
            self._channel.close()
        return self._status

    def _run_generation(self) -> None:
        ports = HeldPorts(2)
        try:
            generation = int(self._say("/v1/register", self._registration(ports))["generation"])
            self._pulse.enter(generation)
            specification = self._wait_for_specification(generation)
            if specification is None:
                return
            if not specification["holds_ports"]:
                ports.let_go()
            self._run_program(specification, generation)
            while not self._pulse.is_over:  # an order follows: the next generation, or the end
                time.sleep(_WAIT_S)
            self._raise_if_lost()
        finally:
            ports.let_go()

    def _registration(self, ports: HeldPorts) -> dict[str, Any]:
        port, spare_port = ports.numbers
        return {
            "host": self._environ.get("NM_HOST") or self._channel.own_address(),
            "port": port,
            "spare_port": spare_port,
            "container_id": self._environ.get("CONTAINER_ID", ""),
            "pid": os.getpid(),
            "gpus": self._gpus.devices,
        }

    def _wait_for_specification(self, generation: int) -> dict[str, Any] | None:
        """Return what to run once all have registered; None when there is an order before."""
        query = urlencode({"task": self._task, "attempt": self._attempt, "generation": generation, "wait": _POLL_S})
        while not self._pulse.is_over:
            try:
                specification = self._channel.get(f"/v1/specification?{query}")
            except OSError:
                time.sleep(HEARTBEAT_S)  # the heartbeat decides when the driver counts as lost
                continue
            if specification is not None:
                return specification
            time.sleep(_WAIT_S)  # an order, which the heartbeat brings
        self._raise_if_lost()
        return None

    def _run_program(self, specification: dict[str, Any], generation: int) -> None:
        if not is_horovod(specification["processes"]):
            self._run_processes(specification, generation, specification["processes"])
            return
        rendezvous = Rendezvous(self._open_channel, self._task, generation, self._environ.get("NM_HOST", ""))
        try:
            if is_elastic(specification["processes"]):
                self._pulse.has_started = True  # as far as the driver is concerned: it is Horovod that waits
                self._tell_started(generation)
            processes = rendezvous.environments(specification["processes"], lambda: self._pulse.is_over)
            if processes is not None:
                self._run_processes(specification, generation, processes)
            elif not self._pulse.is_over:
                words = ["the others had done the work before this one could join them"]
                self._say("/v1/exit", {"generation": generation, "exit_code": 0, "last_lines": words})
        finally:
            rendezvous.close()

    def _run_processes(self, specification: dict[str, Any], generation: int, processes: list[dict[str, str]]) -> None:
        environments = [
            program_environment({**self._gpus.environment(), **specification["env"], **own}, self._folder)
            for own in processes
        ]
        programs = Programs(specification["command"], environments, str(self._folder / "source"))
        self._pulse.has_started = True
        self._tell_started(generation)
        was_told = False
        while not programs.wait(_WAIT_S):
            if self._pulse.is_over:
                was_told = True
                if self._pulse.wants_stacks:
                    stacks.dump()
                programs.end(float(specification["grace_s"]))
                break
        programs.kill_leftovers()
        self._raise_if_lost()
        program = programs.speaker
        program.wait(1.0)
        words = program.words()
        self._status = program.exit_code
        if was_told and self._pulse.must_restart and not self._pulse.must_stop:
            return
        end = {
            "generation": generation,
            "exit_code": program.exit_code,
            "signal": program.signal_name,
            "traceback": words.traceback,
            "last_lines": words.lines,
            "was_told": was_told,
            "usage": self._meter.measure(),
            "memory_limit_mib": float(self._environ.get("SKEIN_RESOURCE_MEMORY") or 0),
        }
        self._say("/v1/exit", end)

    def _open_channel(self) -> Channel:
        return Channel(*self._driver)

    def _tell_started(self, generation: int) -> None:
        with suppress(OSError):  # the next heartbeat says it as well
            message = {"task": self._task, "attempt": self._attempt, "generation": generation, "has_started": True}
            self._channel.post("/v1/heartbeat", message)

    def _raise_if_lost(self) -> None:
        if self._pulse.is_lost:
            raise LostError("the driver is gone; the program was ended")

    def _say(self, path: str, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message that must arrive, again and again until the driver counts as lost; return the answer."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._channel.post(path, {"task": self._task, "attempt": self._attempt, **message})
            except OSError as problem:
                if time.monotonic() > deadline:
                    raise LostError(f"the driver at {path} does not answer: {problem}") from problem
                time.sleep(0.2)


def main() -> NoReturn:
    """Run the task of this container, named by its environment, and leave with the container's exit status.

    It leaves without Python's own ending: a heartbeat under way would be torn out of its thread there,
    which can abort the process and turn a good end into a bad one.
    """
    status = Executor(Path.cwd(), dict(os.environ)).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
