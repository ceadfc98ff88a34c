"""Predictions in batches as Merlin's clients begin, stop and list them; `yarnmill jobs run score` tells of its own."""

from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, request

from serving.control import objects
from serving.control.bodies import ROW, read_body
from serving.control.control import Control
from serving.control.predicting import JobBody
from serving.control.rendering import answer, nothing
from serving.openapi.operation import NOTHING, Operation, described
from serving.refusals import BadRequestError
from yarnmill.registry.records import PredictionJob

_MOST: Final = 100
_SIZE: Final = 10
_LAST_PAGE: Final = 10**6
_OF_VERSION: Final = f"/models/<{ROW}:model_id>/versions/<{ROW}:number>"
_OF_PROJECT: Final = f"/projects/<{ROW}:project_id>"
_PAGING: Final = {"page": "Which page, from 1.", "page_size": f"How many at most, up to {_MOST}; {_SIZE} without it."}


def add_jobs(pages: Blueprint, control: Control) -> None:
    """Add the addresses of prediction jobs."""

    @pages.get(f"{_OF_VERSION}/jobs")
    @described(Operation(answer=list[objects.PredictionJob]))
    def jobs_of_version(model_id: int, number: int) -> Response:
        """List the newest predictions with a version."""
        model = control.registry.versions.get(control.model(model_id).name, number).model
        found = control.registry.jobs.find(model, version=number, most=_MOST)
        return answer(_objects(control, found))

    @pages.post(f"{_OF_VERSION}/jobs")
    @described(Operation(answer=objects.PredictionJob, body=JobBody, refusals=(400, 413, 501)))
    def begin_job(model_id: int, number: int) -> Response:
        """Begin to predict with a version: it is *pending* until YARN has it."""
        body = read_body(JobBody)
        return answer(_objects(control, [control.predict(control.model(model_id), number, body)])[0])

    @pages.put(f"{_OF_VERSION}/jobs/<{ROW}:job_id>/stop")
    @described(Operation(status=HTTPStatus.NO_CONTENT, media_type=NOTHING, refusals=(409,)))
    def stop_job(model_id: int, number: int, job_id: int) -> Response:
        """Stop a prediction: whoever sees it through looks every few seconds, and ends its application."""
        job = control.job(model_id, number, job_id)
        control.registry.jobs.move(job.id, "terminated", message="stopped over the control API")
        return nothing()

    @pages.get(f"{_OF_VERSION}/jobs-by-page")
    @described(Operation(answer=objects.PredictionJobs, query=_PAGING, refusals=(400,)))
    def pages_of_version(model_id: int, number: int) -> Response:
        """Answer a page of the predictions with a version, newest first."""
        model = control.registry.versions.get(control.model(model_id).name, number).model
        return _page(control, model=model, version=number)

    @pages.get(f"{_OF_VERSION}/jobs/<{ROW}:job_id>")
    @described(Operation(answer=objects.PredictionJob))
    def job(model_id: int, number: int, job_id: int) -> Response:
        """Answer one prediction."""
        return answer(_objects(control, [control.job(model_id, number, job_id)])[0])

    @pages.get(f"{_OF_PROJECT}/jobs")
    @described(Operation(answer=list[objects.PredictionJob]))
    def jobs_of_project(project_id: int) -> Response:
        """List the newest predictions with a project's models."""
        project = control.registry.projects.with_id(project_id).name
        return answer(_objects(control, control.registry.jobs.find(project=project, most=_MOST)))

    @pages.get(f"{_OF_PROJECT}/jobs-by-page")
    @described(Operation(answer=objects.PredictionJobs, query=_PAGING, refusals=(400,)))
    def pages_of_project(project_id: int) -> Response:
        """Answer a page of the predictions with a project's models, newest first."""
        project = control.registry.projects.with_id(project_id).name
        return _page(control, project=project)


def _number(name: str, default: int, most: int) -> int:
    text = request.args.get(name, "") or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and 1 <= int(text) <= most):
        raise BadRequestError(f"{name}: {text[:40]!r}", expected=f"a number from 1 to {most}")
    return int(text)


def _page(
    control: Control, *, model: str | None = None, version: int | None = None, project: str | None = None
) -> Response:
    page, size = _number("page", 1, _LAST_PAGE), _number("page_size", _SIZE, _MOST)
    jobs = control.registry.jobs
    found = jobs.find(model, version=version, project=project, offset=(page - 1) * size, most=size)
    total = jobs.count(model, version=version, project=project)
    paging = objects.Paging(total=total, page=page, pages=-(-total // size))
    return answer(objects.PredictionJobs(results=_objects(control, found), paging=paging))


def _objects(control: Control, found: list[PredictionJob]) -> list[objects.PredictionJob]:
    models = {name: control.registry.versions.model(name) for name in {one.model for one in found}}
    projects = {name: control.registry.projects.get(name).id for name in {one.project for one in models.values()}}
    return [
        objects.PredictionJob(
            id=one.id,
            name=one.name,
            version_id=one.version,
            model_id=models[one.model].id,
            project_id=projects[models[one.model].project],
            config={**one.configuration, "application_id": one.application_id},
            status=one.status,
            error=one.message,
            created_at=one.created_at,
            updated_at=one.finished_at or one.created_at,
        )
        for one in found
    ]
