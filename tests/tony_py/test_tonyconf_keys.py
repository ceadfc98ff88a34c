"""Each of TonY's keys is kept, dropped for a reason or refused by name; nothing is left out without a word."""

import pytest

from tony_py.tonyconf.documents import parse_document
from tony_py.tonyconf.keys import KEYS, Key, find
from tony_py.tonyconf.mapping import Translation, translate
from tony_py.tonyconf.options import Options
from tony_py.tonyconf.settings import Settings, layered
from yarnmill.errors import ConfigurationError

BASE = {
    "tony.worker.instances": "2",
    "tony.evaluator.instances": "1",
    "tony.containers.command": "python train.py",
}

# A value with an effect for every kept key, and what else must be set for it.
EFFECTS: dict[str, tuple[str, dict[str, str]]] = {
    "tony.<type>.instances": ("3", {}),
    "tony.<type>.memory": ("3g", {}),
    "tony.<type>.vcores": ("2", {}),
    "tony.<type>.gpus": ("1", {}),
    "tony.<type>.command": ("true", {}),
    "tony.<type>.resources": ("data.csv", {}),
    "tony.<type>.node-label": ("gpu", {}),
    "tony.<type>.depends-on": ("evaluator", {}),
    "tony.<type>.max-instances": ("1", {}),
    "tony.docker.<type>.image": ("i", {"tony.docker.enabled": "true"}),
    "tony.worker.timeout": ("1000", {}),
    "tony.task.executor.execution-timeout-ms": ("1000", {}),
    "tony.containers.command": ("python other.py", {}),
    "tony.containers.resources": ("data.csv", {}),
    "tony.containers.envs": ("A=1", {}),
    "tony.execution.envs": ("A=1", {}),
    "tony.application.name": ("other", {}),
    "tony.application.framework": ("pytorch", {}),
    "tony.application.tags": ("nightly", {}),
    "tony.application.node-label": ("gpu", {}),
    "tony.application.untracked.jobtypes": ("evaluator", {}),
    "tony.application.sidecar.jobtypes": ("evaluator", {}),
    "tony.application.stop-on-failure-jobtypes": ("worker", {}),
    "tony.application.fail-on-worker-failure-enabled": ("true", {"tony.ps.instances": "1"}),
    "tony.application.prepare-stage": ("evaluator", {}),
    "tony.application.training-stage": ("worker", {}),
    "tony.application.group.<group>": (
        "worker",
        {"tony.application.dependency.evaluator.timeout.after.training": "60"},
    ),
    "tony.application.dependency.<type>.timeout.after.<group>": (
        "60",
        {"tony.application.group.training": "worker"},
    ),
    "tony.application.dependency.<type>.timeout.after.<group>.ignored": (
        "true",
        {
            "tony.application.group.training": "worker",
            "tony.application.dependency.evaluator.timeout.after.training": "60",
        },
    ),
    "tony.application.tensorboard-log-dir": ("hdfs:///logs", {}),
    "tony.application.timeout": ("1000", {}),
    "tony.application.distributed-mode": ("FCFS", {}),
    "tony.application.enable-preprocess": ("true", {}),
    "tony.application.single-node": ("true", {}),
    "tony.application.hdfs-conf-path": ("conf/hdfs.xml", {}),
    "tony.application.yarn-conf-path": ("conf/yarn.xml", {}),
    "tony.yarn.queue": ("ml", {}),
    "tony.other.namenodes": ("hdfs://other", {}),
    "tony.am.memory": ("3g", {}),
    "tony.am.vcores": ("2", {}),
    "tony.am.gpus": ("1", {}),
    "tony.am.command": ("true", {"tony.application.enable-preprocess": "true"}),
    "tony.am.resources": ("data.csv", {"tony.application.enable-preprocess": "true"}),
    "tony.am.node-label": ("gpu", {}),
    "tony.am.retry-count": ("1", {}),
    "tony.task.max-total-instances": ("2", {}),
    "tony.task.max-total-<resource>": ("2", {}),
    "tony.task.heartbeat-interval-ms": ("3000", {}),
    "tony.task.max-missed-heartbeats": ("10", {}),
    "tony.container.allocation.timeout": ("1000", {}),
    "tony.container.registration.timeout": ("1000", {}),
    "tony.task.registration-timeout-sec": ("1", {}),
    "tony.docker.enabled": ("true", {"tony.docker.containers.image": "i"}),
    "tony.docker.containers.image": ("i", {"tony.docker.enabled": "true", "tony.docker.worker.image": "w"}),
    "tony.docker.containers.mount": ("/a:/a:ro", {"tony.docker.enabled": "true", "tony.docker.containers.image": "i"}),
    "tony.chief.name": ("evaluator", {}),
    "tony.chief.index": ("1", {}),
}

NAMES = {
    "<type>": "worker",
    "<group>": "training",
    "<resource>": "vcores",
}


def spelled(name: str) -> str:
    if "dependency.<type>" in name:
        name = name.replace("<type>", "evaluator")
    for placeholder, value in NAMES.items():
        name = name.replace(placeholder, value)
    return name


def translated(values: dict[str, str]) -> Translation:
    text = "".join(f"<property><name>{name}</name><value>{value}</value></property>" for name, value in values.items())
    document = parse_document(f"<configuration>{text}</configuration>".encode(), "tony.xml")
    return translate(Settings(layered([document], [])[0], {}, {}), Options(), runs="/runs", moment="m", source=())


def outcome(values: dict[str, str]) -> Translation | str:
    """Return the application, or what is said instead."""
    try:
        return translated(values)
    except ConfigurationError as error:
        return str(error)


@pytest.mark.parametrize("key", [key for key in KEYS if key.becomes], ids=lambda key: key.name)
def test_a_kept_key_has_an_effect_or_is_refused_by_its_name(key: Key) -> None:
    value, others = EFFECTS[key.name]
    before = {name: each for name, each in {**BASE, **others}.items() if name != spelled(key.name)}
    for name in (spelled(key.name), *key.was):
        after = outcome({**before, name: value})
        assert after != outcome(before)
        if isinstance(after, str):
            assert spelled(key.name) in after
        else:
            differing = [each for each in after.ignored if "start together" not in each.reason]
            assert spelled(key.name) not in [each.key for each in differing]


@pytest.mark.parametrize("key", [key for key in KEYS if key.dropped], ids=lambda key: key.name)
def test_a_dropped_key_is_named_with_its_reason_and_changes_nothing(key: Key) -> None:
    found = translated({**BASE, spelled(key.name): "1"})
    assert found.application == translated(BASE).application
    assert [(each.key, each.reason) for each in found.ignored] == [(spelled(key.name), key.dropped)]


@pytest.mark.parametrize("key", [key for key in KEYS if key.refused], ids=lambda key: key.name)
def test_a_refused_key_is_named_with_its_reason(key: Key) -> None:
    with pytest.raises(ConfigurationError, match=f"tony.xml:1: {spelled(key.name)}: ") as error:
        translated({**BASE, spelled(key.name): "notin,node,training"})
    assert key.refused in str(error.value)


def test_no_key_stands_there_twice_and_each_is_one_of_three() -> None:
    names = [name for key in KEYS for name in (key.name, *key.was)]
    assert len(names) == len(set(names))
    assert all(sum(map(bool, (key.becomes, key.dropped, key.refused))) == 1 for key in KEYS)
    assert all(find(spelled(key.name)) == (key, spelled(key.name), find(spelled(key.name)).type) for key in KEYS)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("tony.worker.instanes", "tony.worker.instances"),
        ("tony.evaluator.memmory", "tony.evaluator.memory"),
        ("tony.aplication.name", "tony.application.name"),
        ("tony.application.queue", ""),
        ("tony.task.instances", "do you mean tony.worker.instances"),
        ("tony.worker_gpu.instances", "do you mean tony.workergpu.instances"),
        ("tony.worker.tolerance", ""),
    ],
)
def test_a_key_that_exists_nowhere_is_named_with_the_closest_known(name: str, near: str) -> None:
    assert find(name) is None
    with pytest.raises(ConfigurationError, match=rf"tony\.xml:1: {name}: unknown key") as error:
        translated({**BASE, name: "1"})
    assert near in str(error.value)


def test_all_wrong_keys_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as error:
        translated({**BASE, "tony.worker.foo": "1", "tony.worker.placement-spec": "x", "tony.bar": "1"})
    assert all(name in str(error.value) for name in ("tony.worker.foo", "tony.worker.placement-spec", "tony.bar"))


def test_keys_of_others_are_named_as_such() -> None:
    ignored = translated({**BASE, "azkaban.flow.id": "7"}).ignored
    assert [(each.key, each.reason) for each in ignored] == [("azkaban.flow.id", "it is no key of TonY's")]
