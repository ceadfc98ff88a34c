"""What the pages of the control API act on."""

import threading
from typing import NamedTuple

from flask import request

from serving.control import objects
from serving.control.access import current_token
from serving.control.backing import Backing
from serving.control.deploying import Deploying
from serving.control.loglines import LogLine, version_lines
from serving.control.predicting import JobBody, asked_job
from serving.journal import Journal
from serving.refusals import NotOfferedError
from yarnmill import fs
from yarnmill.config import Config
from yarnmill.errors import NotFoundError, YarnMillError
from yarnmill.registry import Registry
from yarnmill.registry.records import Environment, Model, ModelEndpoint, PredictionJob, VersionEndpoint


class Place(NamedTuple):
    """An environment, and the URL of the tier that answers there if that is known."""

    environment: objects.Environment
    url: str | None


class Control:
    """The registry, and the deployments of this process. To be made after the fork; nothing is opened before a request.

    Parameters
    ----------
    config
        Names the registry and the environment of this tier, and says what it gives to versions.
    backing
        Does what is done elsewhere.
    journal
        What this tier said of versions; None: what this process alone says.

    Attributes
    ----------
    deploying
        The deployments of this process.
    journal
        What this tier said of versions.
    """

    def __init__(self, config: Config, backing: Backing, journal: Journal | None = None) -> None:
        self._config = config
        self._backing = backing
        self.journal = Journal() if journal is None else journal
        self._opened: Registry | None = None
        self._opening = threading.Lock()
        self.deploying = Deploying(lambda: self.registry, backing.deployer)

    @property
    def registry(self) -> Registry:
        """The registry, opened when it is first asked for; its audit names the token of the current request."""
        with self._opening:
            if self._opened is None:
                self._opened = Registry(self._config.registry_url)
        token = current_token()
        return self._opened if token is None else self._opened.acting_as(token.name)

    def stop(self) -> None:
        """End what goes on, and close the registry."""
        self.deploying.stop()
        if self._opened is not None:
            self._opened.close()

    def places(self) -> dict[str, Place]:
        """Return every environment by its name."""
        return {one.name: Place(self._environment(one), self._url(one)) for one in self.registry.environments.find()}

    def model(self, model_id: int) -> Model:
        """Return a model; NotFoundError if no row has the id."""
        return self.registry.versions.model_with_id(model_id)

    def model_of(self, project_id: int, model_id: int) -> Model:
        """Return a model of a project; NotFoundError if it is of another."""
        project, model = self.registry.projects.with_id(project_id), self.model(model_id)
        if model.project != project.name:
            raise NotFoundError(f"project {project.name} has no model {model_id}", mend="yarnmill models list")
        return model

    def endpoint(self, model_id: int, endpoint_id: int) -> tuple[Model, ModelEndpoint]:
        """Return a model endpoint with its model; NotFoundError if it is of another."""
        model, endpoint = self.model(model_id), self.registry.endpoints.with_id(endpoint_id)
        if endpoint.model != model.name:
            raise NotFoundError(
                f"{model.name} has no model endpoint {endpoint_id}", mend=f"yarnmill models show {model.name}"
            )
        return model, endpoint

    def version_endpoint(self, model_id: int, number: int, endpoint_id: int) -> VersionEndpoint:
        """Return a version endpoint; NotFoundError if it is another version's."""
        model, endpoint = self.model(model_id).name, self.registry.deployments.with_id(endpoint_id)
        if (endpoint.model, endpoint.version) != (model, number):
            raise NotFoundError(f"{model}/{number} has no endpoint {endpoint_id}", mend=f"yarnmill models show {model}")
        return endpoint

    def job(self, model_id: int, number: int, job_id: int) -> PredictionJob:
        """Return a prediction job; NotFoundError if it is another version's."""
        model, found = self.model(model_id).name, self.registry.jobs.get(job_id)
        if (found.model, found.version) != (model, number):
            raise NotFoundError(f"{model}/{number} has no prediction job {job_id}")
        return found

    def lines(self, model: str, version: int, environment: str) -> list[LogLine]:
        """Return what there is to read of a version; NotFoundError if there is no such version or environment."""
        self.registry.versions.get(model, version)
        journal = self.journal if self.is_mine(self.registry.environments.get(environment)) else None
        return version_lines(self.registry, journal, model, version, environment)

    def driver_log(self, job: PredictionJob) -> str:
        """Return the end of what a prediction job's driver wrote; empty if YARN has not been asked for one yet."""
        return self._backing.driver_log(job.application_id) if job.application_id else ""

    def predict(self, model: Model, version: int, body: JobBody) -> PredictionJob:
        """Begin a prediction job and return it.

        Raises
        ------
        NotOfferedError
            If this tier begins none, or none of that kind.
        BadRequestError
            If it would read or write outside of the project's folder.
        NotFoundError
            If there is no such version, or it is retired.
        ClusterUnavailableError
            If as many run as may.
        """
        root = self._config.serving.jobs.root
        if not root:
            raise NotOfferedError(
                "this tier begins no predictions in batches: serving.jobs.root names no folder for them",
                mend="yarnmill jobs run score",
            )
        asked, jobs = asked_job(body, fs.as_url(root), model.project), self.registry.jobs
        job = jobs.create(model.name, version, asked.name, asked.configuration)
        try:
            self._backing.starter(job)
        except YarnMillError as problem:
            jobs.move(job.id, "failed", message=problem.what)
            raise
        return job

    def is_mine(self, environment: Environment) -> bool:
        """Return whether this tier answers for an environment."""
        mine = self._config.serving.environment
        return environment.name == mine if mine else environment.is_default

    def _environment(self, environment: Environment) -> objects.Environment:
        return objects.Environment(
            id=environment.id,
            name=environment.name,
            cluster=environment.target,
            is_default=environment.is_default,
            default_resource_request=self._resources(),
            created_at=environment.created_at,
        )

    def _resources(self) -> objects.ResourceRequest:
        # This tier's settings stand for those of every environment: the registry does not know them, and Merlin's
        # clients deploy to none that has no defaults.
        workers, memory_mib = self._config.serving.workers, int(self._config.serving.memory)
        return objects.ResourceRequest(min_replica=workers, max_replica=workers, memory_request=f"{memory_mib}Mi")

    def _url(self, environment: Environment) -> str | None:
        if environment.target.startswith(("http://", "https://")):
            return environment.target.rstrip("/")
        return request.root_url.rstrip("/") if self.is_mine(environment) else None
