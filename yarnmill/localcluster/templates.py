"""The files of a cluster, rendered from conf/hadoop: the same settings give the same bytes."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from yarnmill.localcluster.daemons import Launch, nodemanager_names
from yarnmill.localcluster.layout import Layout
from yarnmill.localcluster.realm import REALM

_PLACEHOLDER: Final = re.compile(r"@(?P<name>[a-z_]+)@")
SITE_FILES: Final = (
    "core-site.xml",
    "hdfs-site.xml",
    "yarn-site.xml",
    "mapred-site.xml",
    "capacity-scheduler.xml",
    "resource-types.xml",
    "node-resources.xml",
    "log4j.properties",
)
REALM_FILES: Final = ("krb5.conf", "kdc.conf")
_END: Final = "</configuration>"
PROGRAMS: Final = ("hadoop", "hdfs", "yarn", "mapred")


def render(template: str, values: Mapping[str, object], *, xml: bool) -> str:
    """Fill in ``@name@``; a name without a value is a KeyError, because templates are part of the program."""

    def value_of(match: re.Match[str]) -> str:
        text = str(values[match["name"]])
        return escape(text) if xml else text

    return _PLACEHOLDER.sub(value_of, template)


def render_all(layout: Layout, launch: Launch, user: str) -> dict[Path, str]:
    """Return every file of the cluster: path → text."""
    values: dict[str, object] = {
        "root": layout.root,
        "conf": layout.conf,
        "jars": launch.jars,
        "java_home": launch.java_home,
        "user": user,
        "nodemanager_memory_mib": int(launch.settings.nodemanager_memory),
        "nodemanager_vcores": launch.settings.nodemanager_vcores,
        "nodemanager_gpus": launch.settings.nodemanager_gpus,
        # In a secured cluster NodeManagers refuse it without Hadoop's native library, which no artifact holds.
        "log_aggregation": str(not launch.settings.secure).lower(),
        "realm": REALM,
        "kerberos": layout.kerberos,
        "keytabs": layout.keytabs,
        "kdc_log": layout.log("kdc"),
        **{name.replace("-", "_"): port for name, port in launch.ports.items()},
    }
    secure = launch.settings.secure
    rendered = {layout.conf / name: _render_site(name, values, secure=secure) for name in SITE_FILES}
    if secure:
        rendered |= {layout.kerberos / name: render(_read("kerberos", name), values, xml=False) for name in REALM_FILES}
    rendered |= {layout.bin / name: _render_file("command.sh", values) for name in PROGRAMS}
    for name in nodemanager_names(launch.settings):
        own = {port: launch.ports[f"{name}-{port}"] for port in ("rpc", "localizer", "collector", "web")}
        rendered[layout.daemon_conf(name) / "yarn-site.xml"] = _render_file(
            "nodemanager-site.xml", {**values, **own, "nodemanager": name}
        )
    return rendered


def _render_site(name: str, values: Mapping[str, object], *, secure: bool) -> str:
    """Return a file of settings; in a secured cluster with what ``conf/hadoop/secured`` adds to it.

    Added as text: not everybody who reads Hadoop's settings (hdfs-native) knows how to include a file.
    """
    text = _read("hadoop", name)
    if secure and (files("conf") / "hadoop" / "secured" / name).is_file():
        added = _read("hadoop/secured", name).partition("<configuration>\n")[2].partition(_END)[0]
        text = text.replace(_END, f"{added}{_END}")
    return render(text, values, xml=name.endswith(".xml"))


def _render_file(name: str, values: Mapping[str, object]) -> str:
    return render(_read("hadoop", name), values, xml=name.endswith(".xml"))


def _read(folder: str, name: str) -> str:
    return (files("conf") / folder / name).read_text()


def write_all(rendered: Mapping[Path, str]) -> None:
    """Write the files, each by a rename, and make the programs executable."""
    for path, text in rendered.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.tmp")
        fresh.write_text(text)
        fresh.chmod(0o755 if path.name in PROGRAMS else 0o644)
        fresh.replace(path)
