"""Who this process is, as far as it can be told without a KDC; the rest is in tests/tony_py/test_secured.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from yarnmill import kerberos
from yarnmill.errors import ConfigurationError
from yarnmill.spnego import Negotiate


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "krb5.conf").write_text("[libdefaults]\n  default_realm = EXAMPLE.COM\n")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/none")
    monkeypatch.delenv("KRB5_CLIENT_KTNAME", raising=False)


@pytest.mark.parametrize(("value", "secured"), [("kerberos", True), ("simple", False)])
def test_the_clusters_settings_say_whether_it_asks_for_kerberos(
    value: str, *, secured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "hadoop.security.authentication"
    text = f"<configuration><property><name>{name}</name><value>{value}</value></property></configuration>"
    (tmp_path / "core-site.xml").write_text(text)
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
    assert kerberos.is_secured() is secured
    monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path / "nowhere"))
    assert not kerberos.is_secured()


@pytest.mark.usefixtures("nobody")
def test_without_a_ticket_the_error_says_so_and_what_mends_it() -> None:
    with pytest.raises(ConfigurationError, match="no valid Kerberos ticket: No Kerberos credentials") as error:
        kerberos.require_ticket()
    assert error.value.mend.startswith("kinit")
    with pytest.raises(ConfigurationError, match="no valid Kerberos ticket"):
        kerberos.authorization("http://localhost:8088/ws/v1/cluster")


@pytest.mark.usefixtures("nobody")
def test_principal_and_keytab_go_together_and_open(tmp_path: Path) -> None:
    keytab = tmp_path / "ann.keytab"
    before = dict(os.environ)
    with pytest.raises(ConfigurationError, match="go together"), kerberos.signed_in("ann@EXAMPLE.COM", ""):
        pass
    with pytest.raises(ConfigurationError, match="cannot be read"), kerberos.signed_in("ann@EXAMPLE.COM", str(keytab)):
        pass
    keytab.write_bytes(b"no keytab")
    with (
        pytest.raises(ConfigurationError, match=r"no ticket for ann@EXAMPLE\.COM by"),
        kerberos.signed_in("ann@EXAMPLE.COM", str(keytab)),
    ):
        pass
    assert dict(os.environ) == before
    with kerberos.signed_in("", ""):
        assert dict(os.environ) == before


FORKING = """
import os, sys
from yarnmill import kerberos
kerberos._acquire = lambda *_: None  # what is kept, not how it is had
with kerberos.signed_in("ann@EXAMPLE.COM", sys.argv[1]):
    if (worker := os.fork()) == 0:
        sys.exit(0)
    os.waitpid(worker, 0)
    folder = os.path.dirname(os.environ["KRB5CCNAME"].removeprefix("FILE:"))
    print(os.path.isdir(folder))
print(os.path.isdir(folder))
"""


def test_a_worker_that_ends_leaves_the_tickets_to_its_parent(tmp_path: Path) -> None:
    (tmp_path / "ann.keytab").touch()
    command = [sys.executable, "-c", FORKING, str(tmp_path / "ann.keytab")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize(
    ("status", "header", "asks"),
    [(401, "Negotiate", True), (401, 'Basic realm="x"', False), (401, None, False), (403, "Negotiate", False)],
)
def test_a_ticket_is_shown_to_whoever_asks_and_to_nobody_else(status: int, header: str | None, *, asks: bool) -> None:
    assert kerberos.asks_for_ticket(status, header) is asks


def test_what_did_not_convince_is_not_shown_twice() -> None:
    answer = requests.Response()
    answer.status_code = 401
    answer.headers["WWW-Authenticate"] = "Negotiate"
    answer.request = requests.Request("GET", "http://localhost", headers={"Authorization": "Negotiate x"}).prepare()
    request = Negotiate()(requests.Request("GET", "http://localhost").prepare())
    (hook,) = request.hooks["response"]
    assert hook(answer) is answer
