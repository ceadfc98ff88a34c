"""A secured cluster as it is decided and written, before anything starts."""

import re
import stat
import subprocess
from pathlib import Path
from shutil import which

import msgspec
import pytest
from lxml import etree

from yarnmill.errors import ClusterUnavailableError, ConfigurationError
from yarnmill.localcluster import realm, templates
from yarnmill.localcluster.daemons import Launch, command_line, daemon_environment, daemons_of, port_names
from yarnmill.localcluster.layout import Layout

NEEDS_KDC = pytest.mark.skipif(which("krb5kdc", path="/usr/sbin:/usr/bin") is None, reason="no KDC here: make kerberos")
PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def secured(launch: Launch) -> Launch:
    settings = msgspec.structs.replace(launch.settings, secure=True)
    ports = {name: 21000 + number for number, name in enumerate(port_names(daemons_of(settings)))}
    return msgspec.structs.replace(launch, settings=settings, ports=ports, kdc="/usr/sbin/krb5kdc")


@pytest.fixture
def rendered(layout: Layout, secured: Launch) -> dict[Path, str]:
    return templates.render_all(layout, secured, "ann")


def settings_of(text: str) -> dict[str, str]:
    entries = [
        (entry.findtext("name", ""), entry.findtext("value", ""))
        for entry in etree.fromstring(text.encode()).iter("property")
    ]
    assert len(entries) == len(dict(entries))
    return dict(entries)


def test_settings_are_whole_and_each_stands_once(rendered: dict[Path, str]) -> None:
    for path, text in rendered.items():
        assert not re.search(r"@[a-z_]+@", text), path
        if path.suffix == ".xml":
            settings_of(text)


def test_every_service_has_its_principal_and_its_keytab(layout: Layout, rendered: dict[Path, str]) -> None:
    hdfs, yarn = (settings_of(rendered[layout.conf / name]) for name in ("hdfs-site.xml", "yarn-site.xml"))
    assert hdfs["dfs.namenode.kerberos.principal"] == "nn/localhost@YARNMILL.LOCAL"
    assert yarn["yarn.nodemanager.keytab"] == str(layout.keytab("nm"))
    named = {value for each in (hdfs, yarn) for value in each.values() if value.endswith(".keytab")}
    assert named == {str(layout.keytab(name)) for name in realm.SERVICES}


def test_access_lists_are_enforced_and_name_nobody_but_the_administrator(
    layout: Layout, rendered: dict[Path, str]
) -> None:
    yarn = settings_of(rendered[layout.conf / "yarn-site.xml"])
    queues = settings_of(rendered[layout.conf / "capacity-scheduler.xml"])
    assert (yarn["yarn.acl.enable"], yarn["yarn.admin.acl"]) == ("true", "yarn")
    assert queues["yarn.scheduler.capacity.root.acl_administer_queue"] == "yarn"


def test_a_cluster_without_kerberos_has_none_of_it(layout: Layout, launch: Launch) -> None:
    rendered = templates.render_all(layout, launch, "ann")
    assert layout.krb5_conf not in rendered
    assert "kerberos" not in "".join(text for path, text in rendered.items() if path.suffix == ".xml").lower()
    assert "KRB5_CONFIG" not in daemon_environment(layout, launch, {})


def test_the_kdc_is_a_daemon_that_is_found_by_its_marks(layout: Layout, secured: Launch) -> None:
    kdc, *others = daemons_of(secured.settings)
    command = command_line(kdc, layout, secured)
    assert command[0] == "/usr/sbin/krb5kdc"
    assert command[-2:] == [f"-Dyarnmill.cluster={layout.root}", "-Dyarnmill.daemon=kdc"]
    for daemon in others:
        assert realm.java_option(layout) in command_line(daemon, layout, secured)


def test_hadoops_programs_find_the_realm_where_kerberos_programs_do(rendered: dict[Path, str], layout: Layout) -> None:
    assert '"-Djava.security.krb5.conf=$KRB5_CONFIG ' in rendered[layout.bin / "hdfs"]


def test_a_program_that_is_not_installed_is_named_with_what_brings_it() -> None:
    with pytest.raises(ConfigurationError, match="needs no-such-kdc") as error:
        realm.find_program("no-such-kdc", PATH)
    assert "make kerberos" in error.value.mend


@NEEDS_KDC
def test_keys_are_made_once_and_are_their_owners_alone(layout: Layout, rendered: dict[Path, str]) -> None:
    templates.write_all({path: text for path, text in rendered.items() if path.parent == layout.kerberos})
    realm.make_principals(layout, "ann", PATH)
    before = {path: path.read_bytes() for path in layout.keytabs.iterdir()}
    realm.make_principals(layout, "ann", PATH)
    assert {path: path.read_bytes() for path in layout.keytabs.iterdir()} == before
    assert {path.stem for path in before} == {*realm.SERVICES, "hdfs", "yarn", "ann", "web-signature"}
    for path in (*before, layout.kerberos / "stash", layout.kerberos, layout.keytabs, layout.tickets_folder):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    listed = subprocess.run(["klist", "-k", layout.keytab("nn")], capture_output=True, text=True, check=True)  # noqa: S607
    assert "nn/localhost@YARNMILL.LOCAL" in listed.stdout


@NEEDS_KDC
def test_what_kerberos_refuses_is_told_in_its_words(layout: Layout, rendered: dict[Path, str]) -> None:
    templates.write_all({path: text for path, text in rendered.items() if path.parent == layout.kerberos})
    realm.make_principals(layout, "ann", PATH)
    with pytest.raises(ClusterUnavailableError, match="kinit failed"):
        realm.fetch_ticket(layout, "ann", PATH)  # the KDC does not run
    with pytest.raises(ConfigurationError, match="cannot be a user"):
        realm.make_keytab(layout, "ann\naddprinc eve", PATH)
