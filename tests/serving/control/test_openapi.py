"""The document of the tier's API: what is in it is there, what is there is in it, and people can read it."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from serving.app import create_app
from serving.dialect import Address
from serving.metrics import Metrics
from serving.openapi.operation import Asking
from serving.openapi.pages import add_document
from serving.predict import DIALECTS

if TYPE_CHECKING:
    from conftest import Browser, Guarded, Merlin

    from serving.models import ModelTable

METHODS = {"get", "post", "put", "patch", "delete"}


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, item in document["paths"].items() for method in item if method in METHODS}


def routes(app: Flask) -> set[tuple[str, str]]:
    return {
        (method, re.sub(r"<(?:[^:>]*:)?([^>]*)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_and_every_predict_address_is_in_it_and_nothing_else(asked: "Merlin") -> None:
    document: Any = asked.client.get("/openapi.json").json
    found, of_flask = operations(document), routes(asked.client.application)
    assert len(of_flask) > 60
    assert of_flask <= found
    rest = found - of_flask
    assert len(rest) == 3 * len(DIALECTS)
    for method, path in rest:
        filled = path.format(model="m", version="7", label="stable")
        wanted = Address("m", "7" if "{version}" in path else None, "stable" if "{label}" in path else None)
        assert [one.address(filled) for one in DIALECTS].count(wanted) == 1, path
        assert method == "POST"
        answer = asked.client.post(filled)
        assert "URL was not found" not in answer.text  # as Flask says of an address that nobody has


def test_no_predict_address_is_missing(asked: "Merlin") -> None:
    known = {path for _, path in operations(asked.client.get("/openapi.json").json)}
    for dialect in DIALECTS:
        for middle in ("", "/versions/{version}", "/labels/{label}"):
            path = f"{dialect.asking.prefix}{{model}}{middle}{dialect.asking.suffix}"
            assert dialect.address(path.format(model="m", version=1, label="l")) is not None
            assert path in known


def test_without_a_control_api_there_is_none_in_it(table: "ModelTable") -> None:
    client = create_app(table, Metrics(), max_body_bytes=1000).test_client()
    document: Any = client.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    assert not [path for _, path in operations(document) if path.startswith("/merlin/v1")]
    assert not {"Merlin's control API", "Not offered"} & {tag["name"] for tag in document["tags"]}
    assert routes(client.application) <= operations(document)


def test_a_route_that_says_nothing_of_itself_is_refused() -> None:
    app = Flask("test", static_folder=None)
    app.add_url_rule("/silent", view_func=lambda: "")
    add_document(app, list[Asking](), has_tokens=False)
    app.testing = True
    with pytest.raises(TypeError, match=r"/silent: .* is not described"):
        app.test_client().get("/openapi.json")


def test_it_says_who_may(guarded: "Guarded", asked: "Merlin") -> None:
    document: Any = guarded.client.get("/openapi.json").json
    paths = document["paths"]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "the role administrator" in paths["/merlin/v1/projects"]["post"]["description"]
    assert "the role deployer" in paths["/merlin/v1/models/{model_id}/endpoints"]["post"]["description"]
    assert "the role reader" in paths["/merlin/v1/projects"]["get"]["description"]
    for method, path in operations(document):
        one = paths[path][method.lower()]
        assert ("security" in one) == ({"401", "403"} <= one["responses"].keys()) == path.startswith("/merlin/v1")
    assert "security" not in asked.client.get("/openapi.json").text


def test_every_reference_leads_somewhere_and_every_id_is_had_once(asked: "Merlin") -> None:
    text = asked.client.get("/openapi.json").text
    document: Any = asked.client.get("/openapi.json").json
    named = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert named == set(document["components"]["schemas"])
    ids = [document["paths"][path][method.lower()]["operationId"] for method, path in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path in operations(document):
        one = document["paths"][path][method.lower()]
        assert one["summary"], path
        assert {each["name"] for each in document["paths"][path]["parameters"]} == set(re.findall(r"{(\w+)}", path))


class Page(HTMLParser):
    """What a page has: its ids, its links, what it loads, its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        if tag in {"script", "link", "img", "iframe"}:
            self.loads.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))


def test_the_page_needs_nothing_and_leads_nowhere_else(guarded: "Guarded") -> None:
    answer = guarded.client.get("/docs")
    page, document = Page(answer.text), guarded.client.get("/openapi.json").json
    assert page.loads == []
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert '<html lang="en">' in answer.text
    assert len(set(page.ids)) == len(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert [link for link in page.links if not link.startswith("#")] == ["openapi.json"]
    assert page.headings[0] == 1
    assert all(later - one <= 1 for one, later in zip(page.headings, page.headings[1:], strict=False))
    for method, path in operations(document or {}):
        assert f"<code>{method} {path}</code>" in answer.text


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_fits_a_window(guarded: "Guarded", browser: "Browser", tmp_path: Path, width: int) -> None:
    page = tmp_path / "docs.html"
    page.write_text(guarded.client.get("/docs").text)
    browser.open(page.as_uri(), width=width)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
