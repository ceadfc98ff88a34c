"""The control API of a real tier in one process: its registry, its blob store, its thread that deploys."""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from flask.testing import FlaskClient
from registered import let_answer, let_run
from snapshots import CLIENTS, GOODS
from waiting import eventually
from werkzeug.test import TestResponse

from serving.app import ControlPages, create_app
from serving.control.access import Access
from serving.control.backing import Backing
from serving.control.control import Control
from serving.control.pages import control_pages
from serving.control.tokens import Role, add_role_token, watched_role_tokens
from serving.metrics import Metrics
from serving.models import ModelTable
from yarnmill.config import Config, load_config
from yarnmill.errors import ClusterUnavailableError
from yarnmill.lifecycle.deploy import carry_out
from yarnmill.registry import Candidate, Registry
from yarnmill.registry.engine import open_engine
from yarnmill.registry.migrate import migrate
from yarnmill.registry.records import PredictionJob

if TYPE_CHECKING:
    from conftest import Platform

VERSIONS = 3


class Merlin:
    """Sends what merlin-sdk sends: JSON without a Content-Type, below the prefix that `set_url` gives it."""

    def __init__(self, client: FlaskClient, registry: Registry) -> None:
        self.client = client
        self.registry = registry

    def send(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        response = self.client.open(f"/merlin/v1{path}", method=method, data=data)
        assert response.status_code == status, response.text
        assert response.content_type == "application/json"
        return response.json

    def refused(self, method: str, path: str, body: object = None, *, status: int) -> str:
        answer = self.send(method, path, body, status=status)
        assert list(answer) == ["error"]
        error: str = answer["error"]
        return error

    def model_id(self, name: str = "rater") -> int:
        return next(one.id for one in self.registry.versions.models() if one.name == name)

    def path(self, version: int | None = None, model: str = "rater") -> str:
        """Return the address of a model, or of the endpoints of one of its versions."""
        address = f"/models/{self.model_id(model)}"
        return address if version is None else f"{address}/versions/{version}/endpoint"

    def wait(self, version: int, endpoint_id: str, model: str = "rater") -> Any:
        """Return a version endpoint once it is not pending: the SDK polls as well."""
        address = f"{self.path(version, model)}/{endpoint_id}"
        assert eventually(lambda: self.send("GET", address)["status"] != "pending")
        return self.send("GET", address)


class Guarded:
    """A tier with a file of tokens, and two projects: `default` has the models of `merlin`, `films` has `film`."""

    def __init__(self, merlin: Merlin, tokens: Path, metrics: Metrics) -> None:
        self.client = merlin.client
        self.registry = merlin.registry
        self.merlin = merlin
        self.tokens = tokens
        self.metrics = metrics

    def new(self, role: Role, *projects: str, name: str = "") -> str:
        """Add a token to the file that the tier watches."""
        return add_role_token(self.tokens, name or secrets.token_hex(4), role, projects or ("*",))

    def ask(self, method: str, path: str, token: str | None, body: object = None, **headers: str) -> TestResponse:
        """Send one request, without a token if it is None."""
        given = headers if token is None else {"Authorization": f"Bearer {token}", **headers}
        data = None if body is None else json.dumps(body)
        return self.client.open(f"/merlin/v1{path}", method=method, data=data, headers=given)

    def refusals(self) -> dict[str, float]:
        """Return how often requests were refused so far, by reason."""
        found = re.findall(r'yarnmill_control_refused_total\{reason="(.*)"\} (.*)', self.metrics.render().decode())
        return {reason: float(count) for reason, count in found}


class Predicting:
    """A tier that begins prediction jobs of `rater`; nobody sees them through, and two are as many as may run."""

    def __init__(self) -> None:
        self.begun: list[PredictionJob] = []
        self.merlin: Merlin

    def start(self, job: PredictionJob) -> None:
        if len(self.begun) == 2:
            raise ClusterUnavailableError("two run already")
        self.begun.append(job)

    @property
    def address(self) -> str:
        return f"{self.merlin.path()}/versions/1/jobs"

    def begin(self, body: dict[str, Any]) -> Any:
        return self.merlin.send("POST", self.address, body)


def config_of(platform: "Platform", *more: str) -> Config:
    return load_config(
        overrides=(f"storage.blobs={platform.blobs_url}", f"registry.url={platform.registry_url}", *more),
        home=str(platform.home),
    )


def merlin_of(table: ModelTable, control: Control, access: Access | None = None) -> Merlin:
    blueprint = control_pages(control, access or Access(None, lambda _reason: None), table.features)
    pages = ControlPages(blueprint, has_tokens=access is not None)
    app = create_app(table, Metrics(), max_body_bytes=100_000, control=pages)
    return Merlin(app.test_client(), control.registry)


def written_by_driver(application_id: str) -> str:
    """Stand for YARN: what a driver wrote names its application."""
    return f"container_1_0001_01_000001 stderr\nINFO {application_id} began\nINFO it ended\n"


@pytest.fixture
def control(platform: "Platform") -> Iterator[Control]:
    config = config_of(platform)
    control = Control(config, Backing(partial(carry_out, config=config), written_by_driver))
    yield control
    control.stop()


@pytest.fixture
def merlin(platform: "Platform", table: ModelTable, control: Control) -> Merlin:
    """Return a client; the model `rater` has three versions, and `other` one that runs."""
    for number in range(1, VERSIONS + 1):
        platform.publish("rater", float(number))
    platform.publish("other", 9.0)
    let_run(platform.registry, "other", 1)
    return merlin_of(table, control)


@pytest.fixture
def predicting(platform: "Platform", table: ModelTable) -> Iterator[Predicting]:
    platform.publish("rater", 1.0)
    predicting, config = Predicting(), config_of(platform, "serving.jobs.root=hdfs:///predicted")
    control = Control(config, Backing(partial(carry_out, config=config), starter=predicting.start))
    predicting.merlin = merlin_of(table, control)
    yield predicting
    control.stop()


@pytest.fixture(scope="module")
def fuzzed(
    tmp_path_factory: pytest.TempPathFactory, platform_in: "Callable[[Path, str], Platform]"
) -> Iterator[tuple[Merlin, str]]:
    """Return a client of a tier and an administrator's token: anything may be asked of it. It deploys nothing."""
    folder = tmp_path_factory.mktemp("fuzzed")
    platform = platform_in(folder, "")
    platform.publish("rater", 1.0)
    platform.publish("rater", 2.0)
    let_answer(platform.registry, "rater", 1)
    let_run(platform.registry, "rater", 2)
    token = add_role_token(folder / "tokens.yaml", "fuzz", "administrator", ("*",))
    backing = Backing(
        lambda registry, deployment: registry.deployments.started(deployment),
        written_by_driver,
        starter=lambda job: platform.registry.jobs.move(job.id, "running", application_id="application_1_0001"),
    )
    control = Control(config_of(platform, "serving.jobs.root=hdfs:///predicted"), backing)
    table = platform.open_table(lambda: 0.0)
    table.refresh()
    yield merlin_of(table, control, Access(watched_role_tokens(folder / "tokens.yaml"), lambda _reason: None)), token
    control.stop()
    platform.registry.close()


@pytest.fixture
def guarded(platform: "Platform", table: ModelTable, control: Control, tmp_path: Path) -> Guarded:
    for number in (1, 2):
        platform.publish("rater", float(number))
    candidate = Candidate(
        model="film", bundle_id="f" * 64, blobs_url="file:///none", flavour="onnx", run_id="film", project="films"
    )
    platform.registry.versions.register(candidate)
    tokens, metrics = tmp_path / "tokens.yaml", Metrics()
    add_role_token(tokens, "first", "reader", ("*",))
    access = Access(watched_role_tokens(tokens), metrics.count_control_refusal)
    return Guarded(merlin_of(table, control, access), tokens, metrics)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.programs)])
def registry_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty registry, embedded ("") or on a PostgreSQL, which refuses other values and numbers."""
    if request.param == "sqlite":
        return ""
    server: str = request.getfixturevalue("postgres")
    name = f"control_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = server.replace("postgresql://", "postgresql+psycopg://").replace("/postgres?", f"/{name}?")
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory, platform_in: "Callable[[Path, str], Platform]", registry_url: str
) -> Iterator[Merlin]:
    """Return a client of a tier where version 1 of `rater` answers and version 2 runs. Shared: to be refused things."""
    platform = platform_in(tmp_path_factory.mktemp("asked"), registry_url)
    config = config_of(platform)
    platform.publish("rater", 1.0)
    platform.publish("rater", 2.0)
    let_answer(platform.registry, "rater", 1)
    let_run(platform.registry, "rater", 2)
    control = Control(config, Backing(partial(carry_out, config=config)))
    yield merlin_of(platform.open_table(lambda: 0.0), control)
    control.stop()
    platform.registry.close()


@pytest.fixture(scope="module")
def simulating(
    tmp_path_factory: pytest.TempPathFactory, platform_in: "Callable[[Path, str], Platform]"
) -> Iterator[Merlin]:
    """Return a client of a tier where snapshots of two feature tables answer. Shared: only to be asked."""
    platform = platform_in(tmp_path_factory.mktemp("simulating"), "")
    goods = [("price", "float64", None), ("odd", "float64", 0.0)]
    clients = [("spent", "float64", -1.0), ("words", "bag", None)]
    for table, key, features, rows in (
        ("shop.goods", ("goods", "int64"), goods, GOODS),
        ("shop.clients", ("client", "string"), clients, CLIENTS),
    ):
        let_answer(platform.registry, table, platform.publish_snapshot(table, key, features, rows)[0])
    config = config_of(platform)
    control = Control(config, Backing(partial(carry_out, config=config)))
    models = platform.open_table(lambda: 0.0)
    models.refresh()
    yield merlin_of(models, control)
    control.stop()
    platform.registry.close()
