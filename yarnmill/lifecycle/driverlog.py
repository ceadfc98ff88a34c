"""What the driver of a Spark application wrote, as YARN gives it: while it runs from its node, afterwards from HDFS."""

import re
from typing import Final

from yarnmill.errors import ClusterUnavailableError, ConfigurationError, JobFailedError

_MOST_BYTES: Final = 1 << 20
"""Of each of a driver's files."""

_DRIVER: Final = re.compile(r"container_(?:e\d+_)?\d+_\d+_\d+_000001")
"""In cluster mode the driver is the application's master, which is the first container of an attempt."""


def driver_log(application_id: str) -> str:
    """Return the end of what an application's driver wrote, file by file.

    Raises
    ------
    ClusterUnavailableError
        If YARN cannot give it, or has nothing of the driver: a node may still be bringing it.
    """
    from tony_py.logs import ends_of_logs  # noqa: PLC0415  # a tier need not load it before somebody asks

    try:
        found = ends_of_logs(application_id, _MOST_BYTES)
    except (ConfigurationError, JobFailedError) as problem:
        raise ClusterUnavailableError(problem.what, mend=problem.mend) from None
    files = [one for one in found if _DRIVER.fullmatch(one.container_id) and one.data]
    if not files:
        raise ClusterUnavailableError(
            f"{application_id}: YARN has no log of its driver yet", mend=f"yarn logs -applicationId {application_id}"
        )
    return "".join(f"{one.container_id} {one.name}\n{one.data.decode(errors='replace').rstrip()}\n" for one in files)
