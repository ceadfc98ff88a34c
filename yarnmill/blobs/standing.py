"""What a record and the state beside it say together: a blob as it stands now."""

from yarnmill.blobs.ids import shown
from yarnmill.blobs.record import Known
from yarnmill.blobs.states import State, now_ms
from yarnmill.blobs.store import BlobInfo
from yarnmill.errors import GoneError
from yarnmill.units import render_time


def info_of(known: Known, size_bytes: int, state: State) -> BlobInfo:
    """Return what is known of a blob."""
    put_with = known.attributes.expires_at_ms if known.attributes is not None else None
    return BlobInfo(
        id=known.id,
        size_bytes=size_bytes,
        sha256=known.sha256,
        created_at_ms=known.created_at_ms,
        expires_at_ms=state.expires_at_ms if state.has_end else put_with,
        attributes=known.attributes,
    )


def refuse_ended(info: BlobInfo, state: State) -> None:
    """Raise GoneError if a blob was deleted or has expired."""
    if state.deleted_at_ms is not None:
        raise gone(info.id, f"was deleted {render_time(state.deleted_at_ms)}")
    refuse_expired(info)


def refuse_expired(info: BlobInfo) -> None:
    """Raise GoneError if a blob has expired."""
    if info.expires_at_ms is not None and info.expires_at_ms <= now_ms():
        raise gone(info.id, f"expired {render_time(info.expires_at_ms)}")


def gone(blob_id: str, why: str) -> GoneError:
    """Return the error of a blob that was there."""
    return GoneError(f"blob {shown(blob_id)} {why}")
