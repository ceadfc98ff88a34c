"""What YARN says of itself over REST: the nodes and what they offer, applications and how they ended.

Knows the ResourceManager's answers only; sending applications is the business of spark-submit and Skein.
"""

import os
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import requests

from yarnmill.errors import ClusterUnavailableError, ConfigurationError, NotFoundError
from yarnmill.records import Record
from yarnmill.spnego import Negotiate

GPU: Final = "yarn.io/gpu"
_TIMEOUT_S: Final = 10.0
_AUTHORITIES: Final = "REQUESTS_CA_BUNDLE"
_MEND: Final = "yarnmill cluster status; yarnmill cluster up"


class Capacity(Record, frozen=True, kw_only=True):
    """An amount of what containers are given."""

    memory_mib: int
    vcores: int
    gpus: int


class NodeCapacity(Capacity, frozen=True, kw_only=True):
    """What one running NodeManager offers to containers in all, and its label (empty: the default partition)."""

    node: str
    label: str = ""


class ApplicationStatus(Record, frozen=True, kw_only=True):
    """A YARN application as the ResourceManager tells it."""

    application_id: str
    name: str
    kind: str
    queue: str
    state: str
    final_status: str
    diagnostics: str
    progress: float
    tags: tuple[str, ...]
    started_ms: int
    finished_ms: int
    user: str = ""
    tracking_url: str = ""
    log_aggregation: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the application has ended, one way or another."""
        return self.state in {"FINISHED", "FAILED", "KILLED"}

    @property
    def has_logs_under_way(self) -> bool:
        """Whether NodeManagers are still bringing the logs of a finished application to HDFS."""
        return self.is_finished and self.log_aggregation in {"NOT_START", "RUNNING", "RUNNING_WITH_FAILURE"}


class ContainerPlace(Record, frozen=True, kw_only=True):
    """A container that runs, or ran and is not forgotten yet, and the web address of its NodeManager."""

    container_id: str
    node: str
    is_master: bool = False


def web_urls(conf_dir: str | None = None) -> list[str]:
    """Return the URLs of the ResourceManagers' web services (several with high availability).

    Raises
    ------
    ConfigurationError
        If ``HADOOP_CONF_DIR`` is not set or its yarn-site.xml names no ResourceManager.
    """
    path, settings = _settings(conf_dir)
    is_https = _is_https(settings)
    key, port = ("webapp.https.address", 8090) if is_https else ("webapp.address", 8088)
    ids = [f".{name.strip()}" for name in settings.get("yarn.resourcemanager.ha.rm-ids", "").split(",") if name.strip()]
    found = []
    for suffix in ids or [""]:
        host = settings.get(f"yarn.resourcemanager.hostname{suffix}", "")
        address = settings.get(f"yarn.resourcemanager.{key}{suffix}") or (host and f"{host}:{port}")
        if address:
            found.append(address.replace(f"${{yarn.resourcemanager.hostname{suffix}}}", host))
    if not found:
        raise ConfigurationError(f"{path}: names no ResourceManager", expected=f"yarn.resourcemanager.{key}")
    return [f"{'https' if is_https else 'http'}://{address}" for address in found]


def node_url(address: str) -> str:
    """Return the URL of a NodeManager's web services, which YARN tells without a scheme."""
    return f"{'https' if _is_https(_settings(None)[1]) else 'http'}://{address}"


def _is_https(settings: dict[str, str]) -> bool:
    return settings.get("yarn.http.policy") == "HTTPS_ONLY"


def _settings(conf_dir: str | None) -> tuple[Path, dict[str, str]]:
    folder = conf_dir if conf_dir is not None else os.environ.get("HADOOP_CONF_DIR", "")
    path = Path(folder) / "yarn-site.xml"
    if not folder or not path.is_file():
        raise ConfigurationError(
            f"HADOOP_CONF_DIR={folder!r} holds no yarn-site.xml",
            expected="a Hadoop configuration folder",
            mend='eval "$(yarnmill cluster env)", or export HADOOP_CONF_DIR=<your cluster\'s configuration folder>',
        )
    properties = ET.parse(path).iter("property")  # noqa: S314  # the configuration of our own cluster
    return path, {entry.findtext("name") or "": entry.findtext("value") or "" for entry in properties}


def nodes() -> list[NodeCapacity]:
    """Return the running nodes of the cluster of ``HADOOP_CONF_DIR``.

    Raises
    ------
    ClusterUnavailableError
        If no ResourceManager answers.
    """
    answer = get("/ws/v1/cluster/nodes?states=RUNNING")
    return [parse_node(entry) for entry in ((answer.get("nodes") or {}).get("node") or [])]


def application(application_id: str) -> ApplicationStatus:
    """Return one application; NotFoundError if the ResourceManager does not know it."""
    return _application(get(f"/ws/v1/cluster/apps/{application_id}")["app"])


def applications(*, tag: str = "", states: tuple[str, ...] = ()) -> list[ApplicationStatus]:
    """Return the applications that the ResourceManager remembers, newest first."""
    query = "&".join(
        [*([f"applicationTags={tag}"] if tag else []), *([f"states={','.join(states)}"] if states else [])]
    )
    answer = get(f"/ws/v1/cluster/apps?{query}")
    found = [_application(entry) for entry in ((answer.get("apps") or {}).get("app") or [])]
    return sorted(found, key=lambda entry: entry.started_ms, reverse=True)


def containers(application_id: str) -> list[ContainerPlace]:
    """Return the containers of a running application: its masters, and all that the ResourceManager counts.

    Raises
    ------
    NotFoundError
        If the ResourceManager does not know the application.
    """
    path = f"/ws/v1/cluster/apps/{application_id}/appattempts"
    attempts = (get(path).get("appAttempts") or {}).get("appAttempt") or []
    found = []
    for attempt in attempts:
        master = attempt.get("containerId") or ""
        if master:
            found.append(ContainerPlace(container_id=master, node=attempt["nodeHttpAddress"], is_master=True))
        for entry in _containers_of(f"{path}/{attempt['appAttemptId']}/containers"):
            if entry["containerId"] != master:
                node = entry["nodeHttpAddress"].removeprefix("http://").removeprefix("https://")
                found.append(ContainerPlace(container_id=entry["containerId"], node=node))
    return found


def _containers_of(path: str) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = get(path).get("container") or []
    except (NotFoundError, ClusterUnavailableError):  # an attempt that is over
        return []
    return entries


def get(path: str) -> Any:  # noqa: ANN401  # JSON as it comes; parsed into records by the callers
    """Return the answer of whichever ResourceManager answers.

    Raises
    ------
    NotFoundError
        If it knows no such thing.
    ClusterUnavailableError
        If none answers.
    """
    problem = ""
    for url in web_urls():
        address = url.partition("://")[2]
        try:
            answer = fetch(f"{url}{path}")
            if answer.status_code == requests.codes.not_found:
                raise NotFoundError(f"{path.rpartition('/')[2]}: not known to the ResourceManager at {address}")
            if answer.status_code in {requests.codes.unauthorized, requests.codes.forbidden}:
                raise ConfigurationError(
                    f"{path}: the ResourceManager at {address} does not let you ({_reason(answer)})",
                    mend="ask whoever sent the application to name you in its `access`",
                )
            answer.raise_for_status()
            return answer.json()
        except requests.exceptions.SSLError:
            raise ConfigurationError(
                f"the certificate of the ResourceManager at {address} is not trusted",
                mend=f"export {_AUTHORITIES}=<file of the authorities that the cluster's certificates are by>",
            ) from None
        except requests.RequestException as error:
            problem = f"{address}: {type(error).__name__}"
    raise ClusterUnavailableError(f"YARN's ResourceManager does not answer ({problem})", mend=_MEND)


def _reason(answer: requests.Response) -> str:
    """Return what Hadoop says of a refusal: its own exception as JSON, or HTTP's words."""
    with suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["RemoteException"]["message"]).partition("\n")[0]
    return str(answer.reason)


def fetch(url: str) -> requests.Response:
    """Return what a server of the cluster answers, whatever it is; requests' own errors if it does not."""
    with requests.Session() as session:
        session.trust_env = False  # the cluster is never behind the proxy of the internet
        session.auth = Negotiate()
        session.verify = os.environ.get(_AUTHORITIES) or True
        return session.get(url, timeout=_TIMEOUT_S, headers={"Accept": "application/json, text/plain"})


def parse_capacity(entry: dict[str, Any]) -> Capacity:
    """Return an amount as YARN writes it: memory and vcores by name, all else in a list."""
    kinds = (entry.get("resourceInformations") or {}).get("resourceInformation") or []
    gpus = sum(int(kind["value"]) for kind in kinds if kind.get("name") == GPU)
    return Capacity(memory_mib=int(entry["memory"]), vcores=int(entry["vCores"]), gpus=gpus)


def parse_node(entry: dict[str, Any]) -> NodeCapacity:
    """Return a node as YARN writes it."""
    total = parse_capacity(entry["totalResource"])
    labels = entry.get("nodeLabels") or [""]  # a node is in one partition
    return NodeCapacity(
        node=entry["id"], memory_mib=total.memory_mib, vcores=total.vcores, gpus=total.gpus, label=labels[0]
    )


def _application(entry: dict[str, Any]) -> ApplicationStatus:
    return ApplicationStatus(
        application_id=entry["id"],
        name=entry["name"],
        kind=entry.get("applicationType", ""),
        queue=entry.get("queue", ""),
        state=entry["state"],
        final_status=entry.get("finalStatus", ""),
        diagnostics=(entry.get("diagnostics") or "").strip(),
        progress=float(entry.get("progress") or 0.0) / 100,
        tags=tuple(tag for tag in (entry.get("applicationTags") or "").split(",") if tag),
        started_ms=int(entry.get("startedTime") or 0),
        finished_ms=int(entry.get("finishedTime") or 0),
        user=entry.get("user", ""),
        tracking_url=entry.get("trackingUrl") or "",
        log_aggregation=entry.get("logAggregationStatus") or "",
    )
