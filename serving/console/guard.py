"""What stands before and after every page: who asks, whether the form is one of ours, what the browser may load."""

import logging
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.wrappers import Response as AnyResponse

from serving.console.console import Console
from serving.control.access import current_token
from serving.control.pages import status_of
from serving.control.sites import refuse_other_sites
from serving.refusals import error_text
from yarnmill.errors import YarnMillError

COOKIE: Final = "yarnmill_console"
FORM_KEY: Final = "form_key"
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without any, forms come from the origin `null`
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FOR_EVERYBODY: Final = frozenset({"console.static", "console.sign_in", "console.sign_out"})
_log = logging.getLogger(__name__)


def add_guard(pages: Blueprint, console: Console) -> None:
    """Judge every request first, and say in every answer what a browser may do with it."""

    def judge() -> AnyResponse | None:
        refuse_other_sites(is_open=console.access.is_open)
        if any("\0" in str(name) for name in (request.view_args or {}).values()):  # PostgreSQL has no place for it
            raise NotFound("There is no page of such a name.")
        if request.endpoint in _FOR_EVERYBODY:
            return None
        tokens = console.access.tokens
        if tokens is not None:
            token = console.sessions.token_of(request.cookies.get(COOKIE), tokens)
            if token is None:
                return _to_sign_in()
            console.access.admit(token, "deployer")
            _judge_project(console)
        if request.method == "POST":
            console.sessions.check_form(request.form.get(FORM_KEY), current_token())
        return None

    def seal(response: AnyResponse) -> AnyResponse:
        response.headers.update(_HEADERS)
        if request.endpoint != "console.static":
            response.headers["Cache-Control"] = "no-store"
        return response

    def common() -> dict[str, object]:
        token = current_token()
        return {
            "token": token,
            "is_open": console.access.is_open,
            "may_change": console.access.is_open or (token is not None and token.has_role("deployer")),
            "form_key": console.sessions.form_key(token),
        }

    pages.before_request(judge)
    pages.after_request(seal)
    pages.context_processor(common)
    pages.register_error_handler(YarnMillError, _refused)
    pages.register_error_handler(HTTPException, _http_error)


def _judge_project(console: Console) -> None:
    token, names = current_token(), request.view_args or {}
    if token is None or token.is_for_all:
        return
    if "project" in names:
        console.access.require_project(names["project"])
    if "model" in names:
        console.access.require_project(console.registry.versions.model(names["model"]).project)


def _to_sign_in() -> AnyResponse:
    if "HX-Request" in request.headers:  # which would show the other page in a part of this one
        return Response(status=HTTPStatus.UNAUTHORIZED, headers={"HX-Refresh": "true"})
    return redirect(
        url_for("console.sign_in", next=request.script_root + request.full_path.rstrip("?")), HTTPStatus.SEE_OTHER
    )


def _refused(error: YarnMillError) -> tuple[str, int]:
    status = status_of(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s", error_text(error))
    page = render_template("console/error.html", status=HTTPStatus(status), error=error)
    return page, status


def _http_error(error: HTTPException) -> tuple[str, int]:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return render_template("console/error.html", status=status, error=YarnMillError(error.description or "")), status
