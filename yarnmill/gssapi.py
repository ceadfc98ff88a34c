"""The few calls of GSSAPI that a client needs, made to the system's own ``libgssapi_krb5`` (RFC 2744).

hdfs-native loads the same library, and both read KRB5_CONFIG, KRB5CCNAME and KRB5_CLIENT_KTNAME as every program of
Kerberos does. So there is no package to build, and no second opinion about who this process is.
"""

import ctypes
from functools import lru_cache
from typing import Any, Final

from yarnmill.errors import ConfigurationError

_LIBRARY: Final = "libgssapi_krb5.so.2"
_KRB5: Final = bytes.fromhex("2a864886f712010202")
_SPNEGO: Final = bytes.fromhex("2b0601050502")
_SERVICE_AT_HOST: Final = bytes.fromhex("2a864886f71201020104")
_PRINCIPAL: Final = bytes.fromhex("2a864886f71201020201")
_INITIATE: Final = 1
_INDEFINITE: Final = 0xFFFFFFFF
_ERRORS: Final = 0xFFFF0000
_EXPIRED: Final = 11 << 16
_OF_GSSAPI, _OF_MECHANISM = 1, 2


class GssError(Exception):
    """What Kerberos refuses, in its own words."""


class _Buffer(ctypes.Structure):
    _fields_ = [("length", ctypes.c_size_t), ("value", ctypes.c_void_p)]  # ctypes' own form


class _Oid(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint32), ("elements", ctypes.c_char_p)]


class _OidSet(ctypes.Structure):
    _fields_ = [("count", ctypes.c_size_t), ("elements", ctypes.POINTER(_Oid))]


def default_principal() -> str:
    """Return whom the ticket at hand names; GssError if there is none that still holds."""
    name, minor = ctypes.c_void_p(), ctypes.c_uint32()
    lifetime = ctypes.byref(ctypes.c_uint32())  # asked for, because only then an expired ticket is an error
    _call("gss_inquire_cred_by_mech", None, _oid(_KRB5), ctypes.byref(name), lifetime, None, None)
    shown = _Buffer()
    try:
        _call("gss_display_name", name, ctypes.byref(shown), None)
    finally:
        _library().gss_release_name(ctypes.byref(minor), ctypes.byref(name))
    return _taken(shown).decode()


def acquire(principal: str) -> None:
    """Have a ticket of a principal fetched, by the keytab that KRB5_CLIENT_KTNAME names; GssError if none comes."""
    name = _imported(principal, _PRINCIPAL)
    credential, minor = ctypes.c_void_p(), ctypes.c_uint32()
    mechanisms = _OidSet(1, ctypes.pointer(_Oid(len(_KRB5), _KRB5)))
    try:
        _call(
            "gss_acquire_cred",
            name,
            ctypes.c_uint32(_INDEFINITE),
            ctypes.byref(mechanisms),
            ctypes.c_int(_INITIATE),
            ctypes.byref(credential),
            None,
            None,
        )
    finally:
        _library().gss_release_cred(ctypes.byref(minor), ctypes.byref(credential))
        _library().gss_release_name(ctypes.byref(minor), ctypes.byref(name))


def first_token(service: str, host: str) -> bytes:
    """Return what SPNEGO says first to a service on a host; GssError if the ticket does not lead there."""
    target = _imported(f"{service}@{host}", _SERVICE_AT_HOST)
    context, minor, token = ctypes.c_void_p(), ctypes.c_uint32(), _Buffer()
    try:
        _call(
            "gss_init_sec_context",
            None,
            ctypes.byref(context),
            target,
            _oid(_SPNEGO),
            ctypes.c_uint32(0),
            ctypes.c_uint32(0),
            None,
            None,
            None,
            ctypes.byref(token),
            None,
            None,
        )
    finally:
        _library().gss_delete_sec_context(ctypes.byref(minor), ctypes.byref(context), None)
        _library().gss_release_name(ctypes.byref(minor), ctypes.byref(target))
    return _taken(token)


@lru_cache(maxsize=1)
def _library() -> Any:  # noqa: ANN401  # ctypes finds the functions by name
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as problem:
        raise ConfigurationError(
            f"Kerberos's library is not on this machine ({problem})", mend="apt-get install libgssapi-krb5-2"
        ) from None


def _oid(elements: bytes) -> Any:  # noqa: ANN401  # a reference that ctypes passes
    return ctypes.byref(_Oid(len(elements), elements))


def _imported(text: str, kind: bytes) -> ctypes.c_void_p:
    data = text.encode()
    buffer = _Buffer(len(data), ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p))
    name = ctypes.c_void_p()
    _call("gss_import_name", ctypes.byref(buffer), _oid(kind), ctypes.byref(name))
    return name


def _taken(buffer: _Buffer) -> bytes:
    """Return the bytes of a buffer of the library's, which gets it back."""
    data = ctypes.string_at(buffer.value, buffer.length) if buffer.value else b""
    _library().gss_release_buffer(ctypes.byref(ctypes.c_uint32()), ctypes.byref(buffer))
    return data


def _call(function: str, *arguments: object) -> None:
    minor = ctypes.c_uint32()
    major = getattr(_library(), function)(ctypes.byref(minor), *arguments) & _ERRORS
    if major:
        # Kerberos's own words say which ticket is lacking; GSSAPI's say at most that one is.
        # Of an expired ticket they are "Success": it was found.
        words = _words(minor.value, _OF_MECHANISM) if major != _EXPIRED else ""
        raise GssError((words or _words(major, _OF_GSSAPI)).strip().strip("\0"))


def _words(code: int, kind: int) -> str:
    more, text, minor = ctypes.c_uint32(), _Buffer(), ctypes.c_uint32()
    _library().gss_display_status(
        ctypes.byref(minor),
        ctypes.c_uint32(code),
        ctypes.c_int(kind),
        _oid(_KRB5),
        ctypes.byref(more),
        ctypes.byref(text),
    )
    return _taken(text).decode(errors="replace")
