"""Snapshots among the models of a tier: the one that answers under a table's name."""

from collections.abc import Callable

from serving.refusals import ModelUnavailableError, UnknownModelError
from serving.slots import Answering
from serving.transformer.bundled import snapshot_of
from serving.transformer.lookups import Snapshot


def deployed_snapshot(table: str, answering: Callable[[str], Answering]) -> Snapshot:
    """Return the snapshot of a table.

    Parameters
    ----------
    table
        The feature table, ``namespace.table``.
    answering
        Returns what answers for a model.

    Raises
    ------
    ModelUnavailableError
        If nothing does, or what does is no snapshot.
    """
    try:
        served = answering(table).main
    except UnknownModelError:
        raise ModelUnavailableError(
            f"features {table}: no snapshot is deployed here", mend=f"yarnmill features publish {table}"
        ) from None
    return snapshot_of(table, served.version, served.predictor)
