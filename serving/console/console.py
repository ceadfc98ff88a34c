"""What the console's pages look at and act on."""

from collections.abc import Sequence
from typing import NamedTuple

from serving.console.samples import Samples
from serving.console.sessions import Sessions
from serving.control.access import Access, current_token
from serving.control.control import Control
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.profiles import Profiles
from yarnmill.config import Config
from yarnmill.registry import Registry


class Console(NamedTuple):
    """The registry with what brings versions to run, who may, and what this worker knows of all workers.

    ``access_log`` is where the tier writes its access log: a file, or ``-`` for standard error.
    """

    control: Control
    access: Access
    sessions: Sessions
    table: ModelTable
    metrics: Metrics
    profiles: Profiles
    samples: Samples
    config: Config
    access_log: str

    @property
    def registry(self) -> Registry:
        """The registry, whose audit names the token of the current request."""
        return self.control.registry

    @property
    def environment(self) -> str:
        """Name of the environment that this tier answers for."""
        return self.registry.environments.get(self.config.serving.environment or None).name

    @property
    def tracking_url(self) -> str | None:
        """Where people look at MLflow's runs; None: its URI is a database's."""
        uri = self.config.tracking_uri
        return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None


def seen_projects() -> Sequence[str] | None:
    """Return the projects that the current request may see; None: all."""
    token = current_token()
    return None if token is None or token.is_for_all else token.projects
