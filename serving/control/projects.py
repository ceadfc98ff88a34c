"""Environments, projects, and the models of a project."""

from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, request

from serving.control import objects
from serving.control.access import Access, may_see
from serving.control.bodies import ROW, ProjectBody, read_body
from serving.control.control import Control
from serving.control.rendering import answer, model_object, project_object
from serving.openapi.operation import Operation, described
from serving.refusals import BadRequestError
from yarnmill.errors import ConflictError
from yarnmill.registry.names import parse_name
from yarnmill.registry.records import Project

_NAME: Final = {"name": "Only the one of exactly this name."}


def add_projects(pages: Blueprint, control: Control, access: Access) -> None:
    """Add the addresses below ``environments`` and ``projects``; ``?name=`` looks for one of exactly that name."""

    @pages.get("/environments")
    @described(Operation(answer=list[objects.Environment], query=_NAME))
    def environments() -> Response:
        """List every environment."""
        places = control.places().values()
        return answer([place.environment for place in places if _is_asked(place.environment.name)])

    @pages.get("/projects")
    @described(Operation(answer=list[objects.Project], query=_NAME))
    def projects() -> Response:
        """List every project."""
        return answer([project_object(one) for one in control.registry.projects.find() if _is_shown(one.name)])

    @pages.post("/projects")
    @described(
        Operation(answer=objects.Project, status=201, body=ProjectBody, refusals=(400, 409, 413), role="administrator")
    )
    def make_project() -> Response:
        """Make a project."""
        body = read_body(ProjectBody)
        name = parse_name(body.name or "", "a project")
        access.require_project(name)
        if any(one.name == name for one in control.registry.projects.find()):
            raise ConflictError(f"project {name}: is there already", mend="change it, or choose another name")
        made = control.registry.projects.ensure(name)
        return answer(project_object(_changed(control, made, body, expected=made.revision)), HTTPStatus.CREATED)

    @pages.get(f"/projects/<{ROW}:project_id>")
    @described(Operation(answer=objects.Project))
    def project(project_id: int) -> Response:
        """Answer one project."""
        return answer(project_object(control.registry.projects.with_id(project_id)))

    @pages.put(f"/projects/<{ROW}:project_id>")
    @described(Operation(answer=objects.Project, body=ProjectBody, refusals=(400, 409, 413), role="administrator"))
    def change_project(project_id: int) -> Response:
        """Change a project's team, labels, administrators or readers, whichever are given."""
        body, present = read_body(ProjectBody), control.registry.projects.with_id(project_id)
        if body.name not in {None, "", present.name}:
            raise BadRequestError(f"name: {body.name!r}", expected=f"{present.name!r}: a project keeps its name")
        return answer(project_object(_changed(control, present, body)))

    @pages.get(f"/projects/<{ROW}:project_id>/models")
    @described(Operation(answer=list[objects.Model], query=_NAME))
    def models(project_id: int) -> Response:
        """List the models of a project."""
        of = control.registry.projects.with_id(project_id)
        found = control.registry.versions.models(of.name)
        return answer([model_object(one, of.id) for one in found if _is_asked(one.name)])

    @pages.get(f"/projects/<{ROW}:project_id>/models/<{ROW}:model_id>")
    @described(Operation(answer=objects.Model))
    def model(project_id: int, model_id: int) -> Response:
        """Answer one model of a project."""
        return answer(model_object(control.model_of(project_id, model_id), project_id))


def _changed(control: Control, project: Project, body: ProjectBody, expected: int | None = None) -> Project:
    return control.registry.projects.update(
        project.name,
        team=body.team,
        labels=None if body.labels is None else {one.key: one.value for one in body.labels},
        administrators=body.administrators,
        readers=body.readers,
        expected=expected,
    )


def _is_shown(project: str) -> bool:
    return _is_asked(project) and may_see(project)


def _is_asked(name: str) -> bool:
    return request.args.get("name", "") in {"", name}
