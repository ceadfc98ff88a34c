"""The Flask application: every interface adds its own addresses."""

from collections.abc import Callable

from flask import Flask, Response, request

from yarnmill.blobs import BlobStore
from yarnmill.blobs.http.access import Access
from yarnmill.blobs.http.metrics import add_metrics
from yarnmill.blobs.http.named import add_named
from yarnmill.blobs.http.reading import add_reading
from yarnmill.blobs.http.refusals import BadRequestError, add_refusals
from yarnmill.blobs.http.s3.routes import add_s3
from yarnmill.blobs.http.signedurls import add_signed_urls
from yarnmill.blobs.http.tokens import Rules
from yarnmill.blobs.http.writing import add_writing


def create_app(store: BlobStore, rules: Callable[[], Rules], *, is_open: bool) -> Flask:
    """Return the application of one worker.

    Parameters
    ----------
    store
        The blobs.
    rules
        Return the tokens, public containers and signing key of the moment.
    is_open
        Everybody may do everything, whatever the rules say.
    """
    app = Flask("yarnmill.blobs.http", static_folder=None)
    access = Access(store, rules, is_open=is_open)
    add_metrics(app)
    app.before_request(_refuse_other_than_utf8)
    add_refusals(app)
    _add_health(app)
    add_reading(app, access)
    add_writing(app, store, access)
    add_named(app, store, access)
    add_signed_urls(app, access)
    add_s3(app, store, access)
    return app


def _refuse_other_than_utf8() -> None:
    """Let no two addresses be the same name: what is not UTF-8 would be replaced."""
    try:
        request.environ["PATH_INFO"].encode("latin-1").decode()
    except UnicodeDecodeError:
        raise BadRequestError("the address is not UTF-8", expected="percent-encoded UTF-8") from None


def _add_health(app: Flask) -> None:
    @app.get("/healthCheck")
    def health_check() -> Response:
        """Answer that the process lives."""
        return Response("GOOD", mimetype="text/plain")
