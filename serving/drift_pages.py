"""Drift of the models that answer: measured, and the counts behind it, which whoever has several tiers adds up."""

from typing import Final

from flask import Blueprint, Response

from serving.models import ModelTable
from serving.openapi.operation import Operation, described
from serving.profiles import Profiles
from yarnmill.drift.comparison import ModelDrift
from yarnmill.drift.counts import ModelCounts, drift_of
from yarnmill.drift.rules import Rules
from yarnmill.records import compact_json

_NO_MODEL: Final = (404, 503)


def drift_pages(table: ModelTable, profiles: Profiles) -> Blueprint:
    """Return the routes ``drift`` and ``profiles`` of a model, and of one of its versions."""
    pages = Blueprint("drift", __name__, url_prefix="/v1/models/<model>")

    @pages.get("/drift")
    @pages.get("/versions/<int:version>/drift")
    @described(Operation(answer=ModelDrift, refusals=_NO_MODEL))
    def drift(model: str, version: int | None = None) -> Response:
        """Answer how far inputs and scores are from the reference, over all workers, by the standard rules."""
        return _json(drift_here(table, profiles, model, version))

    @pages.get("/profiles")
    @pages.get("/versions/<int:version>/profiles")
    @described(Operation(answer=ModelCounts, refusals=_NO_MODEL))
    def counted(model: str, version: int | None = None) -> Response:
        """Answer the counts over all workers beside those of the reference."""
        return _json(_counts(table, profiles, model, version))

    return pages


def drift_here(table: ModelTable, profiles: Profiles, model: str, version: int | None = None) -> ModelDrift:
    """Return how far what a model was asked and answered here is from the reference, by the standard rules.

    Parameters
    ----------
    table, profiles
        Of the worker that asks; the counts are of all workers.
    model, version
        Of which version; None: of all that answer. Errors as :meth:`serving.models.ModelTable.find`.
    """
    rules, found = Rules(), _counts(table, profiles, model, version)
    return ModelDrift(model=model, versions=tuple(drift_of(one, rules) for one in found.versions))


def _counts(table: ModelTable, profiles: Profiles, model: str, version: int | None) -> ModelCounts:
    if version is not None:
        return ModelCounts(model=model, versions=(profiles.of_version(table.find(model, version)),))
    there = table.answering(model).versions
    return ModelCounts(model=model, versions=tuple(profiles.of_version(there[each]) for each in sorted(there)))


def _json(document: object) -> Response:
    return Response(compact_json(document), mimetype="application/json")
