"""What the blob tests measure with, and the store's HTTP face as a process of its own."""

import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from yarnmill import fs
from yarnmill.blobs import FileSystemBlobStore
from yarnmill.blobs.http.tokens import RIGHTS, add_token, load_rules
from yarnmill.records import render_yaml

_MEASURE = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
_READY = re.compile(r"^serving blobs on (?P<url>http://\S+)$")
PUT = {"x-ambry-service-id": "tests", "x-ambry-content-type": "application/octet-stream"}


@pytest.fixture
def peak_memory_of() -> Callable[[str], int]:
    """Return a function that runs a Python program and returns its peak resident memory in bytes."""

    def measure(program: str) -> int:
        done = subprocess.run([sys.executable, "-c", program + _MEASURE], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1]) * 1024

    return measure


class Face(msgspec.Struct):
    """A running server, a token that may do everything, and the store behind it."""

    url: str
    token: str
    tokens: Path
    store: FileSystemBlobStore
    process: Any
    log: Path

    def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> requests.Response:
        """Send one request, by the token of all rights if no other (or an empty one) is given."""
        given = self.token if token is None else token
        headers = {**({"Authorization": f"Bearer {given}"} if given else {}), **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **options)

    def put(self, data: Any, **headers: str) -> str:
        """Put a private blob of its own and return its path; ``ttl`` stands for ``x-ambry-ttl``."""
        said = {f"x-ambry-{name.replace('_', '-')}": value for name, value in headers.items()}
        answer = self.call("POST", "/", data=data, headers={**PUT, "x-ambry-private": "true", **said})
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"]

    def new_token(self, *may: Any, accounts: tuple[str, ...] = ()) -> str:
        """Add a token to the file that the server watches."""
        return add_token(self.tokens, secrets.token_hex(4), may=may or RIGHTS, accounts=accounts)

    def change_rules(self, **fields: Any) -> None:
        """Put other rules in the place of the server's."""
        fresh = self.tokens.with_suffix(".changed")
        fresh.touch(mode=0o600)
        fresh.write_text(render_yaml(msgspec.structs.replace(load_rules(self.tokens), **fields)))
        fresh.replace(self.tokens)


Start = Callable[..., AbstractContextManager[Face]]


@contextmanager
def _started(url: str, folder: Path, *options: str, is_open: bool = False) -> Iterator[Face]:
    folder.mkdir(parents=True, exist_ok=True)
    tokens, log = folder / "tokens.yaml", folder / "server.log"
    token = add_token(tokens, "all", may=RIGHTS, accounts=())
    access = ["--open"] if is_open else ["--tokens", str(tokens)]
    command = [sys.executable, "-m", "yarnmill.cli.main", "blobs", "serve", "--port", "0", "--root", url, *access]
    with (
        log.open("w") as errors,
        subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout
            line = process.stdout.readline()
            match = _READY.match(line)
            assert match, line + log.read_text()
            yield Face(match["url"], token, tokens, FileSystemBlobStore(url), process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=40)
            finally:
                process.kill()


@pytest.fixture
def start_face(tmp_path: Path) -> Start:
    """Return a function that starts a server of its own on a folder (or another URL), with options."""

    def start(*options: str, url: str = "", is_open: bool = False) -> AbstractContextManager[Face]:
        return _started(url or f"file://{tmp_path}/store", tmp_path / "face", *options, is_open=is_open)

    return start


@pytest.fixture(scope="module", params=["file", pytest.param("hdfs", marks=pytest.mark.cluster)])
def face(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """Yield a server on each file system in turn, one for all tests of a module."""
    folder = tmp_path_factory.mktemp("face")
    url = f"file://{folder}/store"
    if request.param == "hdfs":
        request.getfixturevalue("cluster")
        url = f"hdfs:///tests/{secrets.token_hex(6)}"
    with _started(url, folder) as started:
        yield started
    fs.delete(url)


@pytest.fixture(scope="module")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """Yield a server that Ambry's client speaks to, one for all tests of a module."""
    folder = tmp_path_factory.mktemp("frontend")
    with _started(f"file://{folder}/store", folder) as started:
        yield started


@pytest.fixture
def ambry(frontend: Face, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty store behind Ambry's REST."""
    monkeypatch.setenv("YARNMILL_AMBRY_TOKEN", frontend.token)
    return f"ambry+{frontend.url}/ml/c{secrets.token_hex(4)}"
