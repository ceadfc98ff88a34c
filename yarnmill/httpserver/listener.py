"""The socket that a server listens at."""

import errno
import ipaddress
import socket
import struct
from typing import Final

from yarnmill.errors import ConfigurationError, ConflictError

BACKLOG: Final = 2048


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes any free one.

    Raises
    ------
    ConflictError
        If the port is taken.
    ConfigurationError
        If the host is no address of this machine, or the port needs privileges.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, OverflowError) as problem:
        raise ConfigurationError(f"host {host}: {problem}", expected="an address of this machine") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # Two binds can share a port until one of them listens.
        listener.listen(BACKLOG)
    except OSError as problem:
        listener.close()
        raise _bind_error(host, port, problem) from None
    return listener


def _bind_error(host: str, port: int, problem: OSError) -> ConfigurationError | ConflictError:
    if problem.errno == errno.EADDRINUSE:
        return ConflictError(
            f"port {port} of {host} is taken",
            expected="a free port",
            mend=f"--port {port + 1}, or stop what listens there: ss -ltnp 'sport = :{port}'",
        )
    return ConfigurationError(
        f"{host}:{port} cannot be bound: {problem.strerror}", expected="an address of this machine and a port over 1023"
    )


def limit_stalls(listener: socket.socket, timeout_s: float) -> None:
    """Let no client hold a thread by sending or reading nothing: accepted sockets inherit the kernel's own limits."""
    whole, part = divmod(max(timeout_s, 0.1), 1)
    limit = struct.pack("ll", int(whole), int(part * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        listener.setsockopt(socket.SOL_SOCKET, option, limit)


def is_loopback(listener: socket.socket) -> bool:
    """Return whether only this machine reaches a bound socket."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def address_of(listener: socket.socket) -> str:
    """Return the URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
