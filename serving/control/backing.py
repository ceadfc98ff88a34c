"""What the control API needs of what it must not know: flavours, Spark, YARN. Whoever starts the tier gives it."""

from typing import NamedTuple, Protocol

from serving.control.deploying import Deployer
from yarnmill.errors import ClusterUnavailableError
from yarnmill.registry.records import PredictionJob


class DriverLog(Protocol):
    """What reads the log of a Spark application's driver."""

    def __call__(self, application_id: str) -> str:
        """Return its end; ClusterUnavailableError if YARN does not give it."""


def no_driver_log(application_id: str) -> str:
    """Stand for what reads logs in a tier that was started without."""
    raise ClusterUnavailableError(
        f"{application_id}: this tier reads no logs of YARN", mend=f"yarn logs -applicationId {application_id}"
    )


class Starter(Protocol):
    """What has a prediction job seen through."""

    def __call__(self, job: PredictionJob) -> None:
        """Begin it; the registry tells how it ends. ClusterUnavailableError if too many run."""


def no_starter(job: PredictionJob) -> None:
    """Stand for what begins prediction jobs in a tier that was started without."""
    raise ClusterUnavailableError(f"prediction job {job.id}: this tier begins none", mend="yarnmill jobs run score")


class Backing(NamedTuple):
    """What is done elsewhere.

    Parameters
    ----------
    deployer
        Brings versions to run.
    driver_log
        Reads what a prediction job's driver wrote.
    starter
        Begins prediction jobs.
    """

    deployer: Deployer
    driver_log: DriverLog = no_driver_log
    starter: Starter = no_starter
