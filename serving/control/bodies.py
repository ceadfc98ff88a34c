"""What Merlin's clients send: whole objects, of which only what is read here counts, and no Content-Type."""

import datetime as dt
import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from flask import request

from serving.refusals import BadRequestError, NotOfferedError
from yarnmill.records import key_path_of
from yarnmill.registry.inference import InferenceSchema
from yarnmill.registry.names import parse_name
from yarnmill.registry.records import EndpointStatus

LARGEST_ID: Final = 2**31 - 1
"""Of a row, in every database that the registry may live in."""
ROW: Final = f"int(max={LARGEST_ID})"
"""The part of an address that is a row's id."""

_DIGITS: Final = re.compile(r"[0-9]{1,10}")

T = TypeVar("T")


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all bodies: fields that are not named are nobody's business here."""


class Gpu(Body, frozen=True, kw_only=True):
    """The part of a resource request that another size does not stand for."""

    gpu_name: str | None = None
    gpu_request: str | None = None


class Switch(Body, frozen=True, kw_only=True):
    """A part that may be on."""

    enabled: bool | None = None


class Logger(Body, frozen=True, kw_only=True):
    """Where requests and answers are written."""

    model: Switch | None = None
    transformer: Switch | None = None
    prediction: Switch | None = None

    @property
    def is_on(self) -> bool:
        """Whether anything is to be written."""
        return any(one is not None and one.enabled for one in (self.model, self.transformer, self.prediction))


class DeployBody(Body, frozen=True, kw_only=True):
    """A version endpoint that is asked for."""

    environment_name: str | None = None
    status: EndpointStatus | None = None
    protocol: str | None = None
    resource_request: Gpu | None = None
    env_vars: list[Any] | None = None
    secrets: list[Any] | None = None
    transformer: Switch | None = None
    logger: Logger | None = None
    enable_model_observability: bool | None = None

    def check_offered(self) -> None:
        """Refuse what would make the version answer otherwise, and that there is not: NotOfferedError.

        Sizes, modes and policies of scaling are taken and change nothing: a version has what its tier has.
        """
        gpu = self.resource_request
        asked = {
            "transformer": self.transformer is not None and self.transformer.enabled,
            "env_vars": self.env_vars,
            "secrets": self.secrets,
            "logger": self.logger is not None and self.logger.is_on,
            "enable_model_observability": self.enable_model_observability,
            f"protocol {self.protocol}": self.protocol not in {None, "", "HTTP_JSON"},
            "resource_request.gpu_request": gpu is not None and (gpu.gpu_name or gpu.gpu_request),
        }
        for what, is_asked in asked.items():
            if is_asked:
                raise NotOfferedError(
                    f"{what}: a version is its bundle, and answers over HTTP_JSON in the tier that all versions share",
                    expected="a deployment without it",
                )


class LabelBody(Body, frozen=True, kw_only=True):
    """A label of a project."""

    key: str
    value: str


Word = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[^\x00]*$")]
"""A text that the registry has a place for, on every database."""


class ProjectBody(Body, frozen=True, kw_only=True):
    """A project that is asked for; what is left out stays."""

    name: str | None = None
    team: Word | None = None
    administrators: tuple[Word, ...] | None = None
    readers: tuple[Word, ...] | None = None
    labels: list[LabelBody] | None = None


class VersionEndpointRef(Body, frozen=True, kw_only=True):
    """A version endpoint by its id."""

    id: str


class DestinationBody(Body, frozen=True, kw_only=True):
    """A version endpoint and its share.

    Clients that change an endpoint send the new ``version_endpoint_id`` beside the old object.
    """

    weight: float
    version_endpoint_id: str | None = None
    version_endpoint: VersionEndpointRef | None = None


class RuleBody(Body, frozen=True, kw_only=True):
    """A rule that is asked for."""

    destinations: list[DestinationBody]
    mirror: VersionEndpointRef | None = None


class RouteBody(Body, frozen=True, kw_only=True):
    """A model endpoint that is asked for; ``updated_at`` is when the one that the client saw was changed last."""

    rule: RuleBody
    environment_name: str | None = None
    updated_at: dt.datetime | None = None


class ConditionBody(Body, frozen=True, kw_only=True):
    """When an alert is to be raised."""

    metric_type: Literal["throughput", "latency", "error_rate", "cpu", "memory"]
    severity: Literal["WARNING", "CRITICAL"]
    target: float
    enabled: bool | None = None
    percentile: float | None = None


class AlertBody(Body, frozen=True, kw_only=True):
    """The alerts of a model endpoint that are asked for, and who is to be told."""

    team_name: str
    alert_conditions: list[ConditionBody]


class SchemaBody(Body, frozen=True, kw_only=True):
    """A model schema that is asked for; without an ``id`` it is a new one."""

    id: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_ID)] | None = None
    spec: InferenceSchema


def read_body(kind: type[T]) -> T:
    """Return the request's body, whatever its Content-Type; BadRequestError if it is no such JSON."""
    body = request.get_data()
    if not body:
        raise BadRequestError("the body is empty", expected="a JSON object")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as problem:
        what, path = key_path_of(problem)
        raise BadRequestError(f"{path or 'the body'}: {what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BadRequestError(f"the body is not JSON: {problem}") from None


def parse_environment(text: str | None) -> str | None:
    """Return the environment that a text names, None for the default one; ConfigurationError if it can name none."""
    return parse_name(text, "an environment") if text else None


def parse_id(text: str, what: str) -> int:
    """Return the row that a text names; BadRequestError if it can name none."""
    if not _DIGITS.fullmatch(text) or int(text) > LARGEST_ID:
        raise BadRequestError(f"{what}: {text[:40]!r}", expected="the id of a version endpoint, such as 7")
    return int(text)
