"""Who this process is on a secured cluster: by a ticket, by a keytab, or within a container by YARN's tokens.

Knows nothing of HDFS or YARN but the one setting that says whether they ask for Kerberos.
"""

import base64
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from yarnmill import gssapi
from yarnmill.errors import ConfigurationError
from yarnmill.temporary import own_folder

_MEND: Final = "kinit (on the local cluster: yarnmill cluster kinit), or set security.principal and security.keytab"
_CACHE: Final = "KRB5CCNAME"
_KEYTAB: Final = "KRB5_CLIENT_KTNAME"


def is_secured() -> bool:
    """Return whether the cluster of ``HADOOP_CONF_DIR`` asks for Kerberos."""
    core_site = Path(os.environ.get("HADOOP_CONF_DIR", ""), "core-site.xml")
    try:
        return _asks_for_kerberos(core_site, core_site.stat().st_mtime_ns)
    except OSError:  # no configuration, no Kerberos
        return False


@lru_cache(maxsize=8)
def _asks_for_kerberos(core_site: Path, _changed_ns: int) -> bool:
    properties = ET.parse(core_site).iter("property")  # noqa: S314  # the configuration of our own cluster
    settings = {entry.findtext("name"): (entry.findtext("value") or "").strip() for entry in properties}
    return settings.get("hadoop.security.authentication") == "kerberos"


def has_tokens() -> bool:
    """Return whether YARN gave this process delegation tokens, which in a container take the ticket's place."""
    return bool(os.environ.get("HADOOP_TOKEN_FILE_LOCATION"))


def acting_principal() -> str:
    """Return whom this process acts as by a ticket; empty where none is needed.

    Raises
    ------
    ConfigurationError
        If one is needed, and there is none that holds.
    """
    return require_ticket() if is_secured() and not has_tokens() else ""


def require_ticket() -> str:
    """Return the principal of the ticket at hand.

    Raises
    ------
    ConfigurationError
        If there is none, or it has expired.
    """
    try:
        return gssapi.default_principal()
    except gssapi.GssError as problem:
        raise no_ticket(str(problem)) from None


def no_ticket(words: str) -> ConfigurationError:
    """Return the error of whoever comes without a ticket that holds, with Kerberos's words for it."""
    return ConfigurationError(f"no valid Kerberos ticket: {words}", mend=_MEND)


@contextmanager
def signed_in(principal: str, keytab: str) -> Iterator[None]:
    """Act as a principal by a keytab, with tickets that are nobody else's and are gone at the end.

    Programs that this process starts (Skein's Java, ``yarn``) find the tickets too. The library renews them by the
    keytab as long as this goes on.

    Parameters
    ----------
    principal, keytab
        Both empty: nothing happens, a ticket is expected to be there.

    Raises
    ------
    ConfigurationError
        If only one is given, or the keytab does not open.
    """
    if not principal and not keytab:
        yield
        return
    path = Path(keytab).expanduser().absolute()
    if not principal or not keytab:
        raise ConfigurationError("security: principal and keytab go together", expected="both or none of them")
    if not os.access(path, os.R_OK):
        raise ConfigurationError(f"security.keytab: {path} cannot be read", expected="a keytab that is yours")
    before = {name: os.environ.get(name) for name in (_CACHE, _KEYTAB)}
    with own_folder("yarnmill-tickets-") as folder:
        os.environ |= {_CACHE: f"FILE:{folder}/tickets", _KEYTAB: f"FILE:{path}"}
        try:
            _acquire(principal, path)
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _acquire(principal: str, keytab: Path) -> None:
    try:
        gssapi.acquire(principal)
    except gssapi.GssError as problem:
        raise ConfigurationError(
            f"security.keytab: no ticket for {principal} by {keytab}: {problem}",
            mend=f"klist -k {keytab} shows whose keys it holds",
        ) from None


def asks_for_ticket(status: int, header: str | None) -> bool:
    """Return whether an answer says that the server wants to see a ticket."""
    return status == HTTPStatus.UNAUTHORIZED and "negotiate" in (header or "").lower()


def authorization(url: str) -> str:
    """Return the header by which the web server of a URL knows who asks.

    Raises
    ------
    ConfigurationError
        If there is no ticket, it has expired, or it does not lead to this server.
    """
    try:
        token = gssapi.first_token("HTTP", urlsplit(url).hostname or "")
    except gssapi.GssError as problem:
        require_ticket()  # SPNEGO says no more than that nothing will do
        raise no_ticket(str(problem)) from None
    return f"Negotiate {base64.b64encode(token).decode()}"
