"""Log lines as Merlin's clients read them: of a version, and of a prediction job's driver.

Merlin goes on sending lines until its client hangs up; that would hold one of few threads here. So an answer ends with
the lines that there are, ``follow`` or not, and who wants the next ones asks again with ``since_time``.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec
from flask import Blueprint, Response, request

from serving.control import objects
from serving.control.access import Access
from serving.control.bodies import LARGEST_ID, ROW, Word
from serving.control.control import Control
from serving.control.loglines import DEPLOYMENTS, TIER, LogLine
from serving.control.rendering import answer
from serving.openapi.operation import TEXT, Operation, described
from serving.refusals import BadRequestError, NotOfferedError
from yarnmill.errors import NotFoundError
from yarnmill.records import key_path_of
from yarnmill.registry.records import Environment, Model

_DRIVER: Final = "driver"
_VERSION: Final = f"/models/<{ROW}:model_id>/versions/<{ROW}:number>"
_QUERY: Final = {
    "cluster": "The environment, by its name or its cluster.",
    "namespace": "The project.",
    "component_type": "`model`, or `batch_job_driver` with `prediction_job_id`.",
    "model_id": "The model, by its id; or `model_name`.",
    "model_name": "The model, by its name.",
    "version_id": "Number of the version.",
    "prediction_job_id": "Id of a prediction job.",
    "container_name": f"`{DEPLOYMENTS}`: what the registry knows; `{TIER}`: what the tier said; without it both.",
    "prefix": "What comes before each line: `pod`, `container` or `pod_and_container`.",
    "since_time": "Only lines after this moment, as 2026-01-02T03:04:05Z.",
    "since_seconds": "Only lines of so many seconds.",
    "tail_lines": "Only the last so many lines.",
    "limit_bytes": "Only the first so many bytes of what is left.",
}

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_ID)]
ComponentType = Literal[
    "model", "predictor", "transformer", "batch_job_driver", "batch_job_executor", "image_builder", "pdb"
]


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines are asked for."""

    cluster: Word
    namespace: Word
    component_type: ComponentType
    model_id: Count | None = None
    model_name: Word | None = None
    version_id: Count | None = None
    prediction_job_id: Count | None = None
    container_name: Word = ""
    prefix: Literal["", "pod", "container", "pod_and_container"] = ""
    since_time: dt.datetime | None = None
    since_seconds: Count | None = None
    tail_lines: Count | None = None
    limit_bytes: Count | None = None

    def since(self, now: dt.datetime) -> dt.datetime | None:
        """Return the moment after which lines are asked for; None: all are."""
        ago = None if self.since_seconds is None else now - dt.timedelta(seconds=self.since_seconds)
        return max((one for one in (ago, self._since_time) if one is not None), default=None)

    @property
    def _since_time(self) -> dt.datetime | None:
        at = self.since_time
        return at.replace(tzinfo=dt.UTC) if at is not None and at.tzinfo is None else at


def add_logs(pages: Blueprint, control: Control, access: Access) -> None:
    """Add the addresses of log lines and of where they come from."""

    @pages.get(f"{_VERSION}/endpoint/<{ROW}:endpoint_id>/containers")
    @described(Operation(answer=list[objects.Container]))
    def containers_of_endpoint(model_id: int, number: int, endpoint_id: int) -> Response:
        """List what there is to read of a version in an environment."""
        model, endpoint = control.model(model_id), control.version_endpoint(model_id, number, endpoint_id)
        environment = control.registry.environments.get(endpoint.environment)
        sources = {DEPLOYMENTS: "registry", **({TIER: TIER} if control.is_mine(environment) else {})}
        found = [
            objects.Container(
                name=name,
                pod_name=pod,
                component_type="model",
                namespace=model.project,
                cluster=environment.name,
                version_endpoint_id=str(endpoint_id),
            )
            for name, pod in sources.items()
        ]
        return answer(found)

    @pages.get(f"{_VERSION}/jobs/<{ROW}:job_id>/containers")
    @described(Operation(answer=list[objects.Container]))
    def containers_of_job(model_id: int, number: int, job_id: int) -> Response:
        """List what there is to read of a prediction job: its driver, once YARN has its application."""
        model, job = control.model(model_id), control.job(model_id, number, job_id)
        cluster = control.registry.environments.get(None).name
        driver = objects.Container(
            name=_DRIVER,
            pod_name=job.application_id,
            component_type="batch_job_driver",
            namespace=model.project,
            cluster=cluster,
        )
        return answer([driver] if job.application_id else [])

    @pages.get("/logs")
    @described(Operation(media_type=TEXT, query=_QUERY, refusals=(400, 404, 501)))
    def logs() -> Response:
        """Answer log lines, oldest first; `follow` or not, the answer ends with the lines that there are."""
        query = _query()
        environment, model = _environment(control, query), _model(control, query)
        access.require_project(model.project)
        if query.component_type == "batch_job_driver":
            job = control.job(model.id, _needed(query, "version_id"), _needed(query, "prediction_job_id"))
            return _text(query, control.driver_log(job).splitlines())
        if query.component_type not in {"model", "predictor", "transformer"}:
            raise NotOfferedError(
                f"component_type: {query.component_type}: no log of it is kept here",
                expected="model, or batch_job_driver; YARN has those of executors",
                mend="yarn logs -applicationId ID",
            )
        lines = control.lines(model.name, _needed(query, "version_id"), environment.name)
        since = query.since(dt.datetime.now(dt.UTC))
        wanted = (one for one in lines if since is None or one.at > since)
        return _text(query, [_rendered(one, query) for one in wanted if query.container_name in {"", one.container}])


def _query() -> LogQuery:
    try:
        return msgspec.convert({key: text for key, text in request.args.items() if text}, LogQuery, strict=False)
    except msgspec.ValidationError as problem:
        what, path = key_path_of(problem)
        raise BadRequestError(f"{path}: {what}", expected=_QUERY.get(path, "").rstrip(".")) from None


def _needed(query: LogQuery, name: str) -> int:
    found: int | None = getattr(query, name)
    if found is None:
        raise BadRequestError(f"{name}: missing key", expected=_QUERY[name].rstrip("."))
    return found


def _environment(control: Control, query: LogQuery) -> Environment:
    for one in control.registry.environments.find():
        if query.cluster in {one.name, one.target}:
            return one
    raise NotFoundError(f"cluster: no environment {query.cluster}", mend="yarnmill models environments list")


def _model(control: Control, query: LogQuery) -> Model:
    if query.model_id is None and not query.model_name:
        raise BadRequestError("model_id: missing key", expected="model_id or model_name")
    by_name = control.registry.versions.model
    model = by_name(query.model_name) if query.model_name else control.model(query.model_id or 0)
    if model.project != query.namespace or query.model_id not in {None, model.id}:
        raise NotFoundError(f"namespace: the project {query.namespace} has no such model", mend="yarnmill models list")
    return model


def _rendered(line: LogLine, query: LogQuery) -> str:
    prefixes = {"pod": (line.pod,), "container": (line.container,), "pod_and_container": (line.pod, line.container)}
    # Merlin's are of whole seconds; these can be sent back as `since_time` without a line twice.
    at = f"{line.at.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return " ".join((*prefixes.get(query.prefix, ()), at, line.text))


def _text(query: LogQuery, lines: Iterable[str]) -> Response:
    kept = [line.replace("\n", " ") for line in lines]
    if query.tail_lines:  # Merlin takes 0 for all
        kept = kept[-query.tail_lines :]
    body = "".join(f"{line}\n" for line in kept).encode(errors="replace")
    return Response(body if query.limit_bytes is None else body[: query.limit_bytes], mimetype=TEXT)
