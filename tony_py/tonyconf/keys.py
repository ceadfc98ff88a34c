"""Every key that a version of TonY has known, and what becomes of it here.

A key is kept (it becomes a key of the application), dropped (it means nothing here, for a reason) or refused
(what it asks for cannot be had). The guide ``docs/from-tony.md`` shows this table, and a test compares the two.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple

from yarnmill.records import Record

NAMESPACES: Final = frozenset(
    {"am", "application", "container", "containers", "docker", "execution", "history", "horovod", "http", "https"}
    | {"init", "keytab", "other", "portal", "secret", "task", "version", "yarn"}
)
"""What stands after ``tony.`` without being a type of task."""

_PLACEHOLDERS: Final = {"<type>": r"(?P<type>[a-z]+)", "<resource>": "[a-z]+", "<group>": "[A-Za-z]+"}


class Key(Record, frozen=True, kw_only=True):
    """A key of TonY's: ``becomes``, ``dropped`` or ``refused`` says what happens to it; ``was`` are older names."""

    name: str
    becomes: str = ""
    dropped: str = ""
    refused: str = ""
    was: tuple[str, ...] = ()


class Known(NamedTuple):
    """A key as it was found: its newest name, and the type of task that it is about (empty: none)."""

    key: Key
    name: str
    type: str


def _kept(name: str, becomes: str, *was: str) -> Key:
    return Key(name=name, becomes=becomes, was=was)


def _dropped(reason: str, *names: str) -> Iterator[Key]:
    return (Key(name=name, dropped=reason) for name in names)


def _refused(reason: str, *names: str) -> Iterator[Key]:
    return (Key(name=name, refused=reason) for name in names)


KEYS: Final = (
    _kept("tony.<type>.instances", "types.<type>.instances"),
    _kept("tony.<type>.memory", "types.<type>.memory"),
    _kept("tony.<type>.vcores", "types.<type>.vcores"),
    _kept("tony.<type>.gpus", "types.<type>.gpus"),
    _kept("tony.<type>.command", "types.<type>.command"),
    _kept("tony.<type>.resources", "types.<type>.files"),
    _kept("tony.<type>.node-label", "types.<type>.node_label"),
    _kept("tony.<type>.depends-on", "types.<type>.depends_on"),
    _kept("tony.<type>.max-instances", "checked against types.<type>.instances"),
    _kept("tony.docker.<type>.image", "types.<type>.image"),
    _kept("tony.worker.timeout", "types.*.timeout"),
    _kept("tony.task.executor.execution-timeout-ms", "types.*.timeout"),
    _kept("tony.containers.command", "types.*.command"),
    _kept("tony.containers.resources", "files"),
    _kept("tony.containers.envs", "types.*.env"),
    _kept("tony.execution.envs", "types.*.env"),
    _kept("tony.application.name", "name"),
    _kept("tony.application.framework", "framework"),
    _kept("tony.application.tags", "tags"),
    _kept("tony.application.node-label", "node_label"),
    _kept("tony.application.untracked.jobtypes", "types.*.role: untracked"),
    _kept("tony.application.sidecar.jobtypes", "types.*.role: sidecar"),
    _kept(
        "tony.application.stop-on-failure-jobtypes",
        "types.*.stop_on_failure",
        "tony.application.stop.on.failure.jobtypes",
    ),
    _kept("tony.application.fail-on-worker-failure-enabled", "types.*.tolerate, types.*.leader"),
    _kept("tony.application.prepare-stage", "types.*.depends_on"),
    _kept("tony.application.training-stage", "types.*.depends_on"),
    _kept("tony.application.group.<group>", "types.*.linger"),
    _kept("tony.application.dependency.<type>.timeout.after.<group>", "types.<type>.linger"),
    _kept("tony.application.dependency.<type>.timeout.after.<group>.ignored", "types.<type>.role: sidecar"),
    _kept("tony.application.tensorboard-log-dir", "types.tensorboard, with a page"),
    _kept("tony.application.timeout", "timeouts.run"),
    _kept("tony.application.distributed-mode", "restart: task for FCFS"),
    _kept("tony.application.enable-preprocess", "driver.prepare"),
    _kept("tony.application.single-node", "types.single"),
    _kept("tony.application.hdfs-conf-path", "files: hdfs-site.xml"),
    _kept("tony.application.yarn-conf-path", "files: yarn-site.xml"),
    _kept("tony.yarn.queue", "queue"),
    _kept("tony.other.namenodes", "file_systems"),
    _kept("tony.am.memory", "driver.memory; types.single.memory"),
    _kept("tony.am.vcores", "driver.vcores; types.single.vcores"),
    _kept("tony.am.gpus", "driver.gpus; types.single.gpus"),
    _kept("tony.am.command", "driver.prepare; types.single.command"),
    _kept("tony.am.resources", "files, for driver.prepare; types.single.files"),
    _kept("tony.am.node-label", "must be node_label; types.single.node_label"),
    _kept("tony.am.retry-count", "retries.user, retries.oom"),
    _kept("tony.task.max-total-instances", "checked against the sum of instances"),
    _kept("tony.task.max-total-<resource>", "checked against the sum of memory, vcores or gpus"),
    _kept("tony.task.heartbeat-interval-ms", "timeouts.heartbeat", "tony.task.heartbeat-interval"),
    _kept("tony.task.max-missed-heartbeats", "timeouts.heartbeat"),
    _kept("tony.container.allocation.timeout", "timeouts.gang, retries.gang"),
    _kept("tony.container.registration.timeout", "timeouts.register"),
    _kept("tony.task.registration-timeout-sec", "timeouts.register"),
    _kept("tony.docker.enabled", "environment.docker", "tony.application.docker.enabled"),
    _kept("tony.docker.containers.image", "environment.docker.image", "tony.application.docker.image"),
    _kept("tony.docker.containers.mount", "environment.docker.mounts"),
    _kept("tony.chief.name", "types.*.leader"),
    _kept("tony.chief.index", "must be 0"),
    *_refused(
        "YARN's placement constraints cannot be asked for through Skein: use node labels",
        "tony.<type>.placement-spec",
        "tony.<type>.alt-placement-spec",
        "tony.containers.placement-spec",
        "tony.application.placement-spec",
        "tony.application.alt-placement-spec",
    ),
    *_refused(
        "a rendezvous program of one's own cannot be had: the driver runs Horovod's", "tony.horovod.driver.mode.debug"
    ),
    *_dropped(
        "they matter only to placement constraints",
        "tony.<type>.allocation-tags",
        "tony.containers.allocation-tags",
        "tony.application.placement-spec-retry-interval-ms",
        "tony.application.placement-alt-fallback-timeout-ms",
        "tony.application.placement-alt-fallback-attempts",
    ),
    *_dropped(
        "there is no Java in the tasks",
        "tony.task.am.jvm.opts",
        "tony.task.executor.jvm.opts",
        "tony.task.default.jvm.opts",
    ),
    *_dropped("YARN shows the type `skein`; the tag `tony_py` finds the applications", "tony.application.type"),
    *_dropped(
        "the first traceback is the application's diagnostics as a whole",
        "tony.task.executor.execution.error-message-max-depth",
    ),
    *_dropped("an executor tries until timeouts.register has passed", "tony.task.executor.registry-timeout-sec"),
    *_dropped("a container that does not register is replaced (retries.infra)", "tony.task.registration-retry-count"),
    *_dropped(
        "metrics are measured at the executors' own pace",
        "tony.task.metrics-interval-ms",
        "tony.task.gpu-metrics.enabled",
        "tony.gpu-exec-path",
    ),
    *_dropped(
        "the driver waits for no client",
        "tony.am.wait-client-signal-stop-timeout-sec",
        "tony.application.num-client-rm-connect-retries",
    ),
    *_dropped("the client waits until YARN starts the driver; Ctrl-C ends the wait", "tony.am.startup-timeout"),
    *_dropped("the driver runs outside Docker", "tony.docker.am.image"),
    *_dropped(
        "Kerberos is used where the cluster's own configuration asks for it", "tony.application.security.enabled"
    ),
    *_dropped(
        "programs find the Hadoop of their node",
        "tony.application.hadoop.location",
        "tony.application.hadoop.classpath",
        "tony.application.mapred-conf-path",
    ),
    *_dropped("it is what --python_binary_path said", "tony.python-exec-path"),
    *_dropped("ports are held until the program starts", "tony.application.reserve.port.python.process.wait.seconds"),
    *_dropped(
        "the history stands in history.jsonl beside the report",
        "tony.history.location",
        "tony.history.intermediate",
        "tony.history.finished",
        "tony.history.mover-interval-ms",
        "tony.history.finished-dir-timezone",
        "tony.history.retention-sec",
        "tony.history.purger-interval-ms",
        "tony.history.host",
        "tony.history.cache.max-entries",
        "tony.history.maxAppends",
    ),
    *_dropped(
        "there is no portal: see tony_py list, and the application's tracking URL",
        "tony.portal.url",
        "tony.portal.cache.max-entries",
        "tony.keytab.user",
        "tony.keytab.location",
        "tony.https.port",
        "tony.https.keystore.path",
        "tony.https.keystore.type",
        "tony.https.keystore.password",
        "tony.https.keystore.algorithm",
        "tony.http.port",
        "tony.secret.key",
        "tony.init.module",
    ),
    *_dropped(
        "it switches TonY's own tests",
        "tony.horovod.mode.test",
        "tony.horovod.mode.test.fast.fail",
        "tony.application.test.horovod-driver-fail-enable",
        "tony.application.test.horovod-test-mode-enable",
    ),
    *_dropped(
        "it tells TonY's own version",
        "tony.version-info.version",
        "tony.version-info.revision",
        "tony.version-info.branch",
        "tony.version-info.user",
        "tony.version-info.date",
        "tony.version-info.url",
        "tony.version-info.checksum",
    ),
)


def _pattern(name: str) -> re.Pattern[str]:
    text = re.escape(name)
    for placeholder, pattern in _PLACEHOLDERS.items():
        text = text.replace(re.escape(placeholder), pattern)
    return re.compile(text)


def _patterns() -> list[tuple[re.Pattern[str], Key]]:
    """Return what to compare a name with, names without placeholders first."""
    found = [(_pattern(name), key) for key in KEYS for name in (key.name, *key.was)]
    return sorted(found, key=lambda each: "?P<" in each[0].pattern or "[" in each[0].pattern)


_PATTERNS: Final = _patterns()


def find(name: str) -> Known | None:
    """Return the key of this name, or None if TonY has none of it."""
    for pattern, key in _PATTERNS:
        match = pattern.fullmatch(name)
        if match is None:
            continue
        kind = match.groupdict().get("type") or ""
        if kind in NAMESPACES and name.startswith(f"tony.{kind}."):
            continue
        return Known(key, key.name if name in key.was else name, kind)
    return None


def closest(name: str) -> str:
    """Return the known key that looks most like ``name``; empty if none does."""
    letters = re.sub(r"[^a-z]", "", name.split(".")[1]) if name.count(".") > 1 else ""
    kind = letters if letters and letters not in NAMESPACES else "worker"
    names = [each.replace("<type>", kind) for key in KEYS for each in (key.name, *key.was)]
    return next(iter(get_close_matches(name, names, n=1, cutoff=0.6)), "")
