"""Horovod's rendezvous in a container: what its processes ask on the loopback goes to the driver over the channel.

In an elastic gang the driver says who starts when and with which rank, and the processes of this container
are told when they should come for the next round.
"""

from __future__ import annotations

import fcntl
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tony_py.executor.channel import Channel, RefusedError
from tony_py.executor.hostupdates import Listener
from tony_py.executor.loopback import Loopback, Request, StrangerError
from tony_py.executor.roundprocess import RoundProcess

_JOIN_WAIT_S = 1.0
_PLACE_WAIT_S = 1.0
_COURTESY_S = 0.3
_WATCH_WAIT_S = 20.0
_PAUSE_S = 1.0
_RETRY_S = 0.2
_SIOCGIFADDR = 0x8915
_PLACES = "rank_and_size"
_LISTENERS = "worker_addresses"


def is_horovod(processes: list[dict[str, str]]) -> bool:
    """Whether processes with these variables will look for a rendezvous."""
    return "HOROVOD_CONTROLLER" in processes[0]


def is_elastic(processes: list[dict[str, str]]) -> bool:
    """Whether they must wait for a round to take them in."""
    return "HOROVOD_ELASTIC" in processes[0]


class Rendezvous:
    """The rendezvous of one run of the program in this container, from construction to :meth:`close`.

    Parameters
    ----------
    open_channel
        Makes a further way to the driver.
    task, generation
        The slot, and the run of its program.
    host
        What YARN calls this machine; empty if it does not say.
    """

    def __init__(self, open_channel: Callable[[], Channel], task: str, generation: int, host: str = "") -> None:
        self._open_channel = open_channel
        self._task = task
        self._generation = generation
        self._host = host
        self._processes: list[RoundProcess] = []
        self._listeners: dict[str, Listener] = {}
        self._closed = threading.Event()
        self._loopback = Loopback(self._answer)

    def environments(
        self, processes: list[dict[str, str]], should_quit: Callable[[], bool]
    ) -> list[dict[str, str]] | None:
        """Return the variables of the processes with those of their rendezvous.

        An elastic gang's processes are started when a round takes them in, which may take until the next
        commit of the others. None when told to quit before, or when the others have done the work.
        """
        channel = self._open_channel()
        try:
            address = self._own_address(channel, should_quit)
            joined: dict[str, Any] = {"round": self._generation, "processes": [{}] * len(processes)}
            if is_elastic(processes):
                joined = self._join(channel, address, should_quit)
        finally:
            channel.close()
        if not joined:
            return None
        interface = interface_of(address)
        own = {"HOROVOD_GLOO_IFACE": interface, "NCCL_SOCKET_IFNAME": interface} if interface else {}
        found = []
        for local_rank, variables in enumerate(processes):
            process = RoundProcess(self._open_channel(), self._task, self._generation, local_rank)
            place = joined["processes"][local_rank]
            complete = {**own, **self._loopback.variables(process.secret), **place, **variables}
            process.enter(joined["round"], int(complete["HOROVOD_SIZE"]))
            self._processes.append(process)
            found.append(complete)
        if is_elastic(processes):
            threading.Thread(target=self._watch, name="host updates", daemon=True).start()
        return found

    def close(self) -> None:
        """Stop answering."""
        self._closed.set()
        self._loopback.close()
        for process in self._processes:  # each on a thread of its own: it may wait for the driver's answer just now
            threading.Thread(target=process.close, name="hang up", daemon=True).start()

    def _answer(self, request: Request) -> bytes | None:
        process = next((p for p in self._processes if secrets.compare_digest(p.secret, request.secret)), None)
        if process is None:
            raise StrangerError
        if request.method == "DELETE":
            process.leave(request.scope)
        elif request.method == "PUT" and request.scope == _LISTENERS:  # this, with its key, stays in the container
            self._listen_to(process, request.value)
        elif request.method == "PUT":
            process.put(request.scope, request.key, request.value)
        elif request.scope == _PLACES:
            return self._next_place(process)
        else:
            return process.get(request.scope, request.key)
        return b""

    def _listen_to(self, process: RoundProcess, value: bytes) -> None:
        try:
            self._listeners[process.secret] = Listener.parse(value)
        except ValueError as problem:  # another Horovod than those known: everything else still works
            print(f"rendezvous: nobody can tell {self._task} of newcomers: {problem}", file=sys.stderr)  # noqa: T201  # the container's log

    def _next_place(self, process: RoundProcess) -> bytes:
        """Return a process's place in the next round: there is none until all have come who will."""
        has_hung_up = False
        while not self._closed.is_set():
            try:
                place = process.next_place(_PLACE_WAIT_S if has_hung_up else _COURTESY_S)
            except OSError:
                self._closed.wait(_PAUSE_S)  # the heartbeat decides when the driver counts as lost
                continue
            if place:
                return place.encode()
            if not has_hung_up:  # the others have not come yet: they may wait for this process
                process.hang_up_on_peers()
                has_hung_up = True
        raise RefusedError("the program is being ended")

    def _own_address(self, channel: Channel, should_quit: Callable[[], bool]) -> str:
        """Return this machine's address for its peers: the one on the way to the driver, unless the driver is here."""
        address = ""
        while not address and not should_quit():
            try:
                address = channel.own_address()
            except OSError:
                time.sleep(_RETRY_S)  # the heartbeat decides when the driver counts as lost
        if address.startswith("127.") and self._host:
            with suppress(OSError):
                return socket.gethostbyname(self._host)
        return address

    def _join(self, channel: Channel, address: str, should_quit: Callable[[], bool]) -> dict[str, Any]:
        """Return the round that takes this container in; empty when there will be none."""
        about = {"task": self._task, "generation": self._generation, "host": address, "wait_s": _JOIN_WAIT_S}
        while not should_quit():
            try:
                joined = channel.post("/v1/horovod/join", about)
            except OSError:
                time.sleep(_RETRY_S)
                continue
            if joined["is_over"]:
                break
            if joined["round"]:
                return joined
        return {}

    def _watch(self) -> None:
        """Tell this container's processes, until they come, that somebody waits to be let in."""
        channel = self._open_channel()
        while not self._closed.is_set():
            round_ = min(process.round for process in self._processes)
            try:
                answer = channel.post("/v1/horovod/watch", {"round": round_, "wait_s": _WATCH_WAIT_S})
            except (OSError, RefusedError):
                self._closed.wait(_PAUSE_S)
                continue
            if answer["pending"]:
                for listener in list(self._listeners.values()):
                    with suppress(OSError):  # it ends, or comes already; else it is told again
                        listener.tell(round_)
                self._closed.wait(_PAUSE_S)
        channel.close()


def interface_of(address: str) -> str:
    """Return the name of the network interface that has an IPv4 address; empty if none says so.

    It is the one that leads to the driver. Where peers are reached over another one, the application sets
    HOROVOD_GLOO_IFACE itself.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # an interface without an IPv4 address
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(answer[20:24]) == address:
                    return name
    return ""
