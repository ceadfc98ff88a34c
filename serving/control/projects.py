"""Environments, projects, and the models of a project."""

from flask import Blueprint, Response, request

from serving.control.bodies import ROW
from serving.control.control import Control
from serving.control.rendering import answer, model_object, project_object


def add_projects(pages: Blueprint, control: Control) -> None:
    """Add the addresses below ``environments`` and ``projects``; ``?name=`` looks for one of exactly that name."""

    @pages.get("/environments")
    def environments() -> Response:
        """List every environment."""
        places = control.places().values()
        return answer([place.environment for place in places if _is_asked(place.environment.name)])

    @pages.get("/projects")
    def projects() -> Response:
        """List every project."""
        return answer([project_object(one) for one in control.registry.projects.find() if _is_asked(one.name)])

    @pages.get(f"/projects/<{ROW}:project_id>")
    def project(project_id: int) -> Response:
        """Answer one project."""
        return answer(project_object(control.registry.projects.with_id(project_id)))

    @pages.get(f"/projects/<{ROW}:project_id>/models")
    def models(project_id: int) -> Response:
        """List the models of a project."""
        of = control.registry.projects.with_id(project_id)
        found = control.registry.versions.models(of.name)
        return answer([model_object(one, of.id) for one in found if _is_asked(one.name)])

    @pages.get(f"/projects/<{ROW}:project_id>/models/<{ROW}:model_id>")
    def model(project_id: int, model_id: int) -> Response:
        """Answer one model of a project."""
        return answer(model_object(control.model_of(project_id, model_id), project_id))


def _is_asked(name: str) -> bool:
    return request.args.get("name", "") in {"", name}
