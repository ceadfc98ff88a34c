"""Versions brought to answer, brought to run, and taken out: each first says what it will change, then does it."""

from http import HTTPStatus
from typing import Final, NamedTuple

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from serving.console.asking import text_of
from serving.console.console import Console
from serving.control.bodies import ROW, parse_environment
from serving.control.deploying import NextRule
from serving.openapi.operation import for_people
from serving.refusals import BadRequestError
from yarnmill.errors import ConflictError
from yarnmill.registry import Rule

_ACTS: Final = "any(deploy, start, undeploy)"
_REVISION: Final = "revision"


class Confirmation(NamedTuple):
    """What somebody is asked before something changes.

    Parameters
    ----------
    title, button
        The question, and its answer.
    lines
        What will be otherwise.
    revision
        Of the endpoint that they see: if somebody else changes it before the answer, it is a conflict.
    back
        Where they came from.
    is_grave
        Whether something stops to answer.
    """

    title: str
    button: str
    lines: tuple[str, ...]
    revision: int
    back: str
    is_grave: bool = False


def add_acting(pages: Blueprint, console: Console) -> None:
    """Add what is done with a version in an environment."""

    @pages.route(f"/models/<model>/versions/<{ROW}:number>/<{_ACTS}:act>", methods=["GET", "POST"])
    @for_people
    def act(model: str, number: int, act: str) -> Response | str:
        """Ask whether a version is to be deployed, started or undeployed; do it when the answer comes."""
        console.registry.versions.get(model, number)
        environment = console.registry.environments.get(parse_environment(text_of("environment"))).name
        if request.method == "GET":
            asked = {"deploy": _deploy, "start": _start, "undeploy": _undeploy}[act]
            return render_template("console/confirm.html", asked=asked(console, model, number, environment))
        if act == "undeploy":
            console.registry.deployments.undeploy(model, number, environment)
        elif act == "start":
            console.control.deploying.begin(model, number, environment)
        else:
            seen = seen_revision()
            check_unchanged(console, model, environment, seen)
            then = NextRule(Rule.only(number), expected=seen)
            console.control.deploying.begin(model, number, environment, then)
        return redirect(url_for("console.endpoint", model=model, environment=environment), HTTPStatus.SEE_OTHER)


def revision_of(console: Console, model: str, environment: str) -> int:
    """Return the revision of a model's endpoint, 0 if it never had one."""
    present = console.registry.endpoints.present(model, environment)
    return 0 if present is None else present.revision


def seen_revision() -> int:
    """Return the revision that the form of the current request was made at; BadRequestError if it has none."""
    text = request.form.get(_REVISION, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequestError(f"{_REVISION}: {text[:40]!r}", expected="what the form had")
    return int(text)


def check_unchanged(console: Console, model: str, environment: str, seen: int) -> None:
    """Refuse what was decided on another rule: ConflictError."""
    now = revision_of(console, model, environment)
    if now != seen:
        raise ConflictError(
            f"the endpoint of {model} in {environment} is at revision {now}, not {seen}: somebody else changed it",
            mend="look at it again and decide again",
        )


def _deploy(console: Console, model: str, number: int, environment: str) -> Confirmation:
    present = console.registry.endpoints.present(model, environment)
    rule = "nothing" if present is None or not present.rule.destinations else str(present.rule)
    return Confirmation(
        title=f"Deploy {model}/{number} to {environment}?",
        button=f"Deploy version {number}",
        lines=(
            "It is fetched, verified, opened and asked its example.",
            f"Only then does it answer everything in {environment}.",
            f"Until then, and if it fails, this stands: {rule}.",
        ),
        revision=0 if present is None else present.revision,
        back=url_for("console.version", model=model, number=number),
    )


def _start(console: Console, model: str, number: int, environment: str) -> Confirmation:
    return Confirmation(
        title=f"Bring {model}/{number} to {environment} without requests?",
        button=f"Start version {number}",
        lines=(
            "It is fetched, verified, opened and asked its example, also if it was before.",
            "The rule stays as it is: once it runs, its share can be set on the endpoint's page.",
        ),
        revision=revision_of(console, model, environment),
        back=url_for("console.version", model=model, number=number),
    )


def _undeploy(console: Console, model: str, number: int, environment: str) -> Confirmation:
    return Confirmation(
        title=f"Take {model}/{number} out of {environment}?",
        button=f"Undeploy version {number}",
        lines=("It can be deployed again.", "A version that a rule names is refused."),
        revision=revision_of(console, model, environment),
        back=url_for("console.version", model=model, number=number),
        is_grave=True,
    )
