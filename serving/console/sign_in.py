"""Signing in with a token, and out again."""

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from serving.console.console import Console
from serving.console.guard import COOKIE
from serving.openapi.operation import for_people
from serving.refusals import UnknownTokenError


def add_sign_in(pages: Blueprint, console: Console) -> None:
    """Add the pages that everybody may see."""

    @pages.route("/sign-in", methods=["GET", "POST"])
    @for_people
    def sign_in() -> Response | str | tuple[str, int]:
        """Ask for a token; keep its name, signed, if it is one of the tier's."""
        tokens, goes_to = console.access.tokens, _own(request.values.get("next", ""))
        if tokens is None:
            return redirect(url_for("console.overview"), HTTPStatus.SEE_OTHER)
        if request.method == "GET":
            return render_template("console/sign_in.html", goes_to=goes_to, refusal=None)
        try:
            token = console.access.token_of(tokens, request.form.get("token", "").strip())
        except UnknownTokenError as problem:
            page = render_template("console/sign_in.html", goes_to=goes_to, refusal=problem)
            return page, HTTPStatus.UNAUTHORIZED
        response = redirect(goes_to, HTTPStatus.SEE_OTHER)
        response.set_cookie(
            COOKIE,
            console.sessions.cookie_of(token),
            max_age=console.sessions.lasts_s,
            path=_root(),
            secure=_is_https(),
            httponly=True,
            samesite="Strict",
        )
        return response

    @pages.post("/sign-out")
    @for_people
    def sign_out() -> Response:
        """Forget who is signed in here."""
        response = redirect(url_for("console.sign_in"), HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path=_root(), secure=_is_https(), httponly=True, samesite="Strict")
        return response


def _is_https() -> bool:
    # What the browser says that it sees: a proxy with TLS in front need not tell.
    return request.is_secure or request.headers.get("Origin", "").startswith("https://")


def _root() -> str:
    return url_for("console.overview")


def _own(address: str) -> str:
    """Return an address of the console, its first page instead of any other."""
    parts = urlsplit(address.replace("\\", "/"))
    is_own = not parts.scheme and not parts.netloc and parts.path.startswith(_root())
    return address if is_own and address.isprintable() else _root()  # a header has no line breaks
