"""The one tree of errors: every mistake a user can make ends in one of these.

An error says what is wrong, what was expected and what mends it. Its exit code tells a scheduler
(Oozie, cron, a shell script) whether running the same thing again can help. Only
:func:`yarnmill.cli.main.main` prints errors; everything else raises them.

This module knows nothing but the standard library, so that every package may import it.
"""

from typing import ClassVar


class YarnMillError(Exception):
    """Base of all errors that are shown to a user without a stack trace.

    Parameters
    ----------
    what
        What is wrong: the value, the key path, the file.
    expected
        What was expected instead.
    mend
        The command, key or act that mends it.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "unexpected"

    def __init__(self, what: str, *, expected: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.mend = mend

    def __str__(self) -> str:
        """Return the three parts on lines of their own, leaving out the empty ones."""
        lines = [self.what]
        if self.expected:
            lines.append(f"expected: {self.expected}")
        if self.mend:
            lines.append(f"to mend it: {self.mend}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all three parts when Spark or multiprocessing pickles the error."""
        return (_rebuild, (type(self), self.what, self.expected, self.mend))


def _rebuild(error: type[YarnMillError], what: str, expected: str, mend: str) -> YarnMillError:
    return error(what, expected=expected, mend=mend)


class ConfigurationError(YarnMillError):
    """A configuration, definition or command line that cannot be meant."""

    exit_code = 2
    kind = "configuration"


class NotFoundError(YarnMillError):
    """A table, partition, blob, model or file that is not there."""

    exit_code = 3
    kind = "not found"


class GoneError(NotFoundError):
    """A blob that was there: deleted, or past its end."""

    kind = "gone"


class ConflictError(YarnMillError):
    """Somebody else changed, holds or already wrote the thing."""

    exit_code = 4
    kind = "conflict"


class ClusterUnavailableError(YarnMillError):
    """HDFS, YARN or a server does not answer: running it again later may help."""

    exit_code = 10
    kind = "cluster unavailable"


class StorageFullError(ClusterUnavailableError):
    """A disk or a quota has no room left: running it again helps when somebody has made some."""

    kind = "storage full"


class JobFailedError(YarnMillError):
    """A job was started and ended without success."""

    exit_code = 20
    kind = "job failed"


class BadDataError(YarnMillError):
    """Data that breaks its contract: running it again cannot help."""

    exit_code = 21
    kind = "bad data"
