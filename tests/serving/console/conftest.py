"""The console of a real tier in one process, its tokens, and its counters at moments that a test chooses."""

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask.testing import FlaskClient
from registered import let_answer, let_run
from werkzeug.test import TestResponse

from serving.app import ControlPages, create_app
from serving.console.console import Console
from serving.console.pages import console_pages
from serving.console.samples import Samples
from serving.console.sessions import Sessions
from serving.control.access import Access
from serving.control.backing import Backing
from serving.control.control import Control
from serving.control.pages import control_pages
from serving.control.tokens import Role, RoleTokens, add_role_token, watched_role_tokens
from serving.metrics import Metrics
from serving.models import ModelTable
from serving.profiles import Profiles
from yarnmill.config import load_config
from yarnmill.lifecycle.deploy import carry_out
from yarnmill.registry import Registry

if TYPE_CHECKING:
    from conftest import Platform

KEY = b"k" * 32
FIELD = re.compile(r'name="(form_key|revision)" value="([^"]*)"')


class Moment:
    """Seconds since 1970 that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A browser without scripts at the console of a tier: it keeps cookies, and sends back what forms have."""

    def __init__(self, client: FlaskClient, console: Console, moment: Moment, tokens: Path) -> None:
        self.client = client
        self.console = console
        self.moment = moment
        self.tokens = tokens

    @property
    def registry(self) -> Registry:
        return self.console.control.registry

    def get(self, path: str, status: int = 200) -> str:
        response = self.client.get(f"/console{path}")
        assert response.status_code == status, response.text
        return response.text

    def fields(self, page: str) -> dict[str, str]:
        """Return the hidden fields of a page's form."""
        return dict(FIELD.findall(page))

    def post(self, path: str, fields: dict[str, str], status: int = 303) -> TestResponse:
        response = self.client.post(f"/console{path}", data=fields)
        assert response.status_code == status, response.text
        return response

    def answer(self, path: str, **more: str) -> TestResponse:
        """Open a question's page and say yes."""
        return self.post(path, {**self.fields(self.get(path)), **more})

    def new(self, role: Role, *projects: str, name: str) -> str:
        return add_role_token(self.tokens, name, role, projects or ("*",))

    def sign_in(self, secret: str, status: int = 303) -> TestResponse:
        return self.post("/sign-in", {"token": secret}, status=status)


@pytest.fixture
def moment() -> Moment:
    return Moment()


Open = Callable[..., Desk]


@contextmanager
def opening(platform: "Platform", table: ModelTable, moment: Moment) -> Iterator[Open]:
    config = load_config(
        overrides=(f"storage.blobs={platform.blobs_url}", f"registry.url={platform.registry_url}"),
        home=str(platform.home),
    )
    control = Control(
        config,
        Backing(partial(carry_out, config=config), lambda application_id: f"<script>{application_id} wrote it\n"),
    )

    def open_(*, guarded: bool = False, access_log: str = "-", key: bytes = KEY) -> Desk:
        tokens, metrics = platform.home / "tokens.yaml", Metrics()
        watched: Callable[[], RoleTokens] | None = None
        if guarded:
            add_role_token(tokens, secrets.token_hex(4), "reader", ("*",))
            watched = watched_role_tokens(tokens)
        access, profiles = Access(watched, metrics.count_control_refusal), Profiles(metrics)
        console = Console(
            control=control,
            access=access,
            sessions=Sessions(key, 3600.0),
            table=table,
            metrics=metrics,
            profiles=profiles,
            samples=Samples(metrics, clock=moment),
            config=config,
            access_log=access_log,
        )
        pages = ControlPages(
            control_pages(control, access, table.features), has_tokens=guarded, console=console_pages(console)
        )
        app = create_app(table, metrics, max_body_bytes=100_000, control=pages, profiles=profiles)
        table.refresh()
        return Desk(app.test_client(), console, moment, tokens)

    yield open_
    control.stop()


@pytest.fixture
def open_desk(platform: "Platform", table: ModelTable, moment: Moment) -> Iterator[Open]:
    """Return what opens the console of the platform, guarded by tokens or not; it is never in a hurry."""
    with opening(platform, table, moment) as open_:
        yield open_


@pytest.fixture
def desk(platform: "Platform", open_desk: Open) -> Desk:
    """Return an open console: of `rater`, version 1 answers, 2 runs, and 3 is nowhere."""
    rated(platform)
    return open_desk()


@pytest.fixture
def guarded(platform: "Platform", open_desk: Open) -> Desk:
    """Return the same behind tokens."""
    rated(platform)
    return open_desk(guarded=True)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, platform_in: "Callable[[Path, str], Platform]") -> Iterator[Desk]:
    """Return the same as `desk`. Shared: only to be looked at."""
    platform = platform_in(tmp_path_factory.mktemp("shown"), "")
    rated(platform)
    with opening(platform, platform.open_table(lambda: 0.0), Moment()) as open_:
        yield open_()


def rated(platform: "Platform") -> None:
    for number in (1, 2, 3):
        platform.publish("rater", float(number))
    let_answer(platform.registry, "rater", 1)
    let_run(platform.registry, "rater", 2)
