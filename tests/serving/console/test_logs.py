"""The end of the access log: real lines of the server, and whatever else a file may hold."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registered import bundle

from serving.console.logs import wanted_lines
from serving.worker import LOGGED
from yarnmill.httpserver.lines import Answered, render_line
from yarnmill.registry import Candidate

if TYPE_CHECKING:
    from conftest import Open

KEYS = {name: key for key, name in LOGGED.items()}


def line(status: int, path: str, **more: object) -> bytes:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, **{KEYS[name]: value for name, value in more.items()}}
    return render_line(environ, Answered(status, 7, 0.0123), LOGGED.items(), dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


LOG = b"".join(
    [
        b'tail of a line"}\n',
        line(200, "/v1/models/rater:predict", model="rater", version=3, rows=2),
        b"[2026-01-01] [INFO] no request\n\xff\xfe\n{}\n",
        line(400, "/v1/models/film:predict", model="film"),
        line(403, "/merlin/v1/projects", who="ana"),
        line(200, "/console/static/console.css").replace(b"POST", b"GET"),
    ]
)


def paths(**wanted: object) -> list[str]:
    asked: dict[str, object] = {"model": "", "only_errors": False, "models": None, **wanted}
    return [one.path for one in wanted_lines(LOG, **asked)]  # type: ignore[arg-type]  # as the page asks


def test_lines_are_newest_first_and_what_is_none_is_left_out() -> None:
    assert paths() == ["/merlin/v1/projects", "/v1/models/film:predict", "/v1/models/rater:predict"]
    assert paths(model="rater") == ["/v1/models/rater:predict"]
    assert paths(only_errors=True) == ["/merlin/v1/projects", "/v1/models/film:predict"]
    assert paths(models={"rater"}) == ["/v1/models/rater:predict"]
    assert list(wanted_lines(b"", model="", only_errors=False, models=None)) == []
    assert len(list(wanted_lines(LOG * 200, model="", only_errors=False, models=None))) == 100


@pytest.mark.parametrize("is_there", [True, False])
def test_the_page_shows_a_file_if_there_is_one(open_desk: "Open", tmp_path: Path, *, is_there: bool) -> None:
    path = tmp_path / "access.log"
    if is_there:
        path.write_bytes(LOG)
    page = open_desk(access_log=str(path)).get("/logs")
    assert ("12.3" in page) == ("rater:predict" in page) == is_there
    assert "standard error" not in page.split("What the server")[0]


def test_a_log_that_is_not_kept_is_said_to_be_none(open_desk: "Open") -> None:
    assert "--access-log FILE" in open_desk().get("/logs")


def test_a_project_s_token_sees_the_lines_of_its_models(open_desk: "Open", tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_bytes(LOG)
    desk = open_desk(guarded=True, access_log=str(path))
    candidate = Candidate(model="film", bundle_id="f" * 64, blobs_url="file:///none", flavour="onnx", run_id="r")
    desk.registry.versions.register(bundle(candidate, 1, project="films"))
    desk.sign_in(desk.new("reader", "films", name="ana"))
    page = desk.get("/logs")
    assert "film:predict" in page
    assert "rater:predict" not in page
    assert "/merlin/v1/projects" not in page
