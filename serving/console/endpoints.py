"""The endpoint of a model in an environment: its rule with a share for each version, what stood before, how it does."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from serving.console.acting import Confirmation, seen_revision
from serving.console.charts import charts_of
from serving.console.console import Console
from serving.console.endpointrows import drift_light, state_of
from serving.console.rates import history
from serving.openapi.operation import for_people
from serving.refusals import BadRequestError
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import convert
from yarnmill.registry import ModelEndpoint, Rule
from yarnmill.registry.records import VersionEndpoint

_SHARE: Final = "share-"
_MOST_HISTORY: Final = 20
_MOST_DEPLOYMENTS: Final = 10
_MOST_IDLE: Final = 20
"""Versions that run and have no share, the newest, which a form offers."""
_ADDRESS: Final = "/models/<model>/endpoints/<environment>"


class Share(NamedTuple):
    """A version that a rule may name: its state, and its share in percent as the form has it, empty: none."""

    version: int
    status: str
    text: str


def add_endpoints(pages: Blueprint, console: Console) -> None:
    """Add the pages of endpoints."""

    def page(model: str, environment: str, refusal: ConfigurationError | None = None) -> str:
        present = console.registry.endpoints.present(model, console.registry.environments.get(environment).name)
        console.registry.versions.model(model)
        is_here = environment == console.environment
        samples = console.samples.recent()
        past = history(samples, model)
        # What htmx asks for every few seconds is one part of the page, and the rest takes the longest.
        is_part = "HX-Request" in request.headers
        versions = [] if is_part else console.registry.deployments.find(model, environment)
        slot = console.table.snapshot.slots.get(model)
        return render_template(
            "console/endpoint.html",
            model=model,
            environment=environment,
            target=console.registry.environments.get(environment).target,
            endpoint=present,
            is_here=is_here,
            state=state_of(slot),
            reason="" if slot is None else slot.failure,
            drift=drift_light(samples, model),
            now=past.now,
            charts=charts_of(past),
            shares=_shares(present, versions, request.form if refusal else None),
            given=request.form if refusal else {},
            refusal=refusal,
            rules=[] if is_part else console.registry.endpoints.history(model, environment)[:_MOST_HISTORY],
            deployments=console.registry.listing.deployments(
                model=model, environment=environment, limit=_MOST_DEPLOYMENTS
            ).found,
        )

    @pages.get(_ADDRESS)
    @for_people
    def endpoint(model: str, environment: str) -> str:
        """Show what answers for a model in an environment, and how it does."""
        return page(model, environment)

    @pages.post(f"{_ADDRESS}/rule")
    @for_people
    def rule(model: str, environment: str) -> Response | tuple[str, int]:
        """Let other shares stand; a rule that cannot be meant comes back with the reason."""
        try:
            wanted = rule_of(request.form)
        except ConfigurationError as problem:
            return page(model, environment, problem), HTTPStatus.BAD_REQUEST
        console.registry.endpoints.route(model, wanted, environment, expected=seen_revision())
        return redirect(url_for("console.endpoint", model=model, environment=environment), HTTPStatus.SEE_OTHER)

    @pages.route(f"{_ADDRESS}/<any('roll-back', stop):act>", methods=["GET", "POST"])
    @for_people
    def change_endpoint(model: str, environment: str, act: str) -> Response | str:
        """Ask whether the rule before is to stand again, or none; do it when the answer comes."""
        if request.method == "GET":
            asked = (_roll_back if act == "roll-back" else _stop)(console, model, environment)
            return render_template("console/confirm.html", asked=asked)
        endpoints = console.registry.endpoints
        (endpoints.roll_back if act == "roll-back" else endpoints.stop)(model, environment, expected=seen_revision())
        return redirect(url_for("console.endpoint", model=model, environment=environment), HTTPStatus.SEE_OTHER)


def rule_of(form: Mapping[str, str]) -> Rule:
    """Return the rule that a form has.

    Raises
    ------
    ConfigurationError
        If it is none: the shares are no numbers or not a whole, say. It names the field.
    """
    shares = {name.removeprefix(_SHARE): text for name, text in form.items() if name.startswith(_SHARE)}
    weights = {
        _whole(version, "version"): _percent(text, f"share of version {version}")
        for version, text in shares.items()
        if text.strip()
    }
    layer = form.get("layer", "").strip()
    if not any(weights.values()):
        raise ConfigurationError("no version has a share", expected="100 % in all", mend="stop the endpoint instead")
    document = {
        "destinations": [{"version": version, "weight": weight} for version, weight in weights.items() if weight],
        "mirror": _whole(form["mirror"], "mirror") if form.get("mirror") else None,
        "layer": {
            "name": layer,
            "start": _percent(form.get("layer-start", ""), "start of the layer"),
            "stop": _percent(form.get("layer-stop", ""), "end of the layer"),
        }
        if layer
        else None,
    }
    return convert(document, Rule, source="rule")


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadRequestError(f"{what}: {text[:40]!r}", expected="a number of a version")
    return int(text)


def _percent(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{what}: {text[:40]!r}", expected="percent such as 12.5") from None


def _shares(
    present: ModelEndpoint | None, versions: list[VersionEndpoint], given: Mapping[str, str] | None
) -> list[Share]:
    weights = {} if present is None else {one.version: f"{one.weight:.2f}" for one in present.rule.destinations}
    newest = sorted(versions, key=lambda one: -one.version)
    idle = [one for one in newest if one.status == "running"][:_MOST_IDLE]
    return [
        Share(
            one.version,
            one.status,
            weights.get(one.version, "") if given is None else given.get(f"{_SHARE}{one.version}", ""),
        )
        for one in newest
        if one.status == "serving" or one in idle
    ]


def _roll_back(console: Console, model: str, environment: str) -> Confirmation:
    present = console.registry.endpoints.get(model, environment)
    history_ = console.registry.endpoints.history(model, environment)
    before = next((one for one in history_ if one.rule.versions and one.rule != present.rule), None)
    if before is None:
        raise NotFoundError(f"{model}: no rule stood before the present one", expected="an endpoint that was changed")
    return Confirmation(
        title=f"Roll {model} back in {environment}?",
        button="Roll back",
        lines=(f"Now: {present.rule}.", f"Then, as at revision {before.revision}: {before.rule}."),
        revision=present.revision,
        back=url_for("console.endpoint", model=model, environment=environment),
    )


def _stop(console: Console, model: str, environment: str) -> Confirmation:
    present = console.registry.endpoints.get(model, environment)
    return Confirmation(
        title=f"Let nothing answer for {model} in {environment}?",
        button="Stop answering",
        lines=(f"Now: {present.rule}.", "Then every request is refused with status 404; its versions run on."),
        revision=present.revision,
        back=url_for("console.endpoint", model=model, environment=environment),
        is_grave=True,
    )
