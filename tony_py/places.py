"""Where a run keeps what on HDFS: names derived from the output and the fingerprint, nothing else.

Programs write to a folder beside the output, which the driver moves into place when all have ended
well. Checkpoints stand beside it too, under the fingerprint: the same run resumes, a changed one starts anew.
"""

from yarnmill import fs
from yarnmill.records import Record


class Places(Record, frozen=True, kw_only=True):
    """URLs of one run."""

    output: str
    work: str

    @property
    def staging(self) -> str:
        """Folder that the programs write their result to."""
        return fs.join(self.work, "output")

    @property
    def replaced(self) -> str:
        """Where an earlier output waits to be deleted until the new one stands."""
        return fs.join(self.work, "replaced")

    @property
    def checkpoints(self) -> str:
        """Folder that outlives a failed run."""
        return fs.join(self.work, "checkpoints")

    @property
    def history(self) -> str:
        """The events, while it runs."""
        return fs.join(self.work, "history.jsonl")


def places(output: str, fingerprint: str) -> Places:
    """Return the places of the run with this output and fingerprint."""
    parent, _, name = output.rstrip("/").rpartition("/")
    return Places(output=output.rstrip("/"), work=f"{parent}/.{name}.{fingerprint[:12]}")
