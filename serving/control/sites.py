"""Changes that a page of another site asks for through somebody's browser, which sends what any page wants."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from flask import request

from serving.refusals import OtherSiteError

_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_OWN: Final = "a client that is no other site's page"


def refuse_other_sites(*, is_open: bool) -> None:
    """Refuse the current request if a browser sends it for another site: OtherSiteError.

    Parameters
    ----------
    is_open
        Whether everybody may do everything. Then the tier is on loopback, and whoever asks for it by another name may
        be a page whose own name was made to mean this machine: its origin says nothing.
    """
    # Browsers reach loopback too, and bodies without a Content-Type need no leave for it.
    origin = request.headers.get("Origin")
    if origin is not None and request.method != "GET" and origin.partition("://")[2] != request.host:
        raise OtherSiteError(f"{origin[:100]} asks for a change here", expected=_OWN)
    if is_open and not is_loopback_name(request.host):
        raise OtherSiteError(
            f"{request.host[:100]!r} is no name of loopback",
            expected="http://127.0.0.1 or localhost, or a tier with serving.tokens",
        )


def is_loopback_name(host: str) -> bool:
    """Return whether a ``Host`` header names this machine's loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in _NAMES or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
