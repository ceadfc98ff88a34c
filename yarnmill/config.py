"""The one typed configuration: ``conf/yarnmill.yaml``, then the user's file, then ``--set key=value``.

The defaults file is the only place of a default: every field below is required, and the shipped file
has every field. An error names the key path and the layer that the wrong value stands in.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml

from yarnmill import environments
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.records import Record, convert, parse_yaml_mapping
from yarnmill.units import Mebibytes, Seconds

_FOLDER_OF_ALL: Final = re.compile(r"(?:hdfs://[^/]*|file://)?/+[^/]")


class Storage(Record, frozen=True, kw_only=True):
    """Roots of what lives on HDFS (URLs)."""

    tables: str
    runs: str
    blobs: str
    environments: str


class BundleSettings(Record, frozen=True, kw_only=True):
    """What may be done with bundles on this machine, and how much of those that can be fetched again stays here."""

    allow_code: bool
    cache: Mebibytes

    @property
    def limit_bytes(self) -> int:
        """Most that a cache of bundles may take."""
        return int(self.cache) << 20


class RegistrySettings(Record, frozen=True, kw_only=True):
    """Where the registry and MLflow keep their rows; empty means embedded SQLite."""

    url: str
    tracking: str


class ClusterSettings(Record, frozen=True, kw_only=True):
    """Shape of the local cluster."""

    nodemanagers: Annotated[int, msgspec.Meta(ge=1, le=64)]
    nodemanager_memory: Mebibytes
    nodemanager_vcores: Annotated[int, msgspec.Meta(ge=1)]
    nodemanager_gpus: Annotated[int, msgspec.Meta(ge=0)]
    daemon_heap: Mebibytes
    quick_java: bool
    secure: bool
    start_timeout: Seconds


class SecuritySettings(Record, frozen=True, kw_only=True):
    """Whom the platform acts as on a secured cluster; both empty: whoever holds the ticket at hand."""

    principal: str
    keytab: str


class SparkSettings(Record, frozen=True, kw_only=True):
    """Resources of a spark-submit."""

    queue: str
    driver_memory: Mebibytes
    executors: int
    executor_cores: int
    executor_memory: Mebibytes
    executor_memory_overhead: Mebibytes
    shuffle_partitions: int
    python: str
    jars: str


class TrainingSettings(Record, frozen=True, kw_only=True):
    """Resources shared by tony_py applications."""

    queue: str
    python: str
    gang_timeout: Seconds


class LogSettings(Record, frozen=True, kw_only=True):
    """What the tier keeps of what it was asked and answered; nothing if ``url`` is empty."""

    url: str
    share: Annotated[float, msgspec.Meta(ge=0, le=1)]
    flush: Seconds
    most_rows: Annotated[int, msgspec.Meta(ge=1)]
    memory: Mebibytes

    def __post_init__(self) -> None:
        """Refuse what would mean another folder in every process, or a file a moment."""
        if self.url and not self.url.startswith(("hdfs://", "file:///", "/")):
            raise ValueError(f"url {self.url!r} is no place that all machines find: hdfs://… or file:///…")
        if self.flush < 0.1:
            raise ValueError(f"flush is {self.flush:g} s, expected 0.1 s or more")


class BatchingSettings(Record, frozen=True, kw_only=True):
    """How requests of one model that come together are put into one call of it."""

    rows: Annotated[int, msgspec.Meta(ge=2)]
    wait: Seconds


class PredictionJobSettings(Record, frozen=True, kw_only=True):
    """Where prediction jobs that the control API is asked for may read and write, and how many a worker begins."""

    root: str
    most: Annotated[int, msgspec.Meta(ge=1)]

    def __post_init__(self) -> None:
        """Refuse what would mean another folder on every machine, and the whole of a file system."""
        if self.root and not _FOLDER_OF_ALL.match(self.root):
            raise ValueError(f"root {self.root!r} is no folder that all machines find: hdfs://…/… or file:///…")


class ConsoleSettings(Record, frozen=True, kw_only=True):
    """How long people stay signed in at the console, and the file of the secret that says so."""

    session: Seconds
    key: str

    def __post_init__(self) -> None:
        """Refuse sessions that are over before they begin."""
        if self.session < 60:
            raise ValueError(f"session is {self.session:g} s, expected 1 min or more")


class ServingSettings(Record, frozen=True, kw_only=True):
    """Shape of the serving tier."""

    host: str
    port: int
    server: Literal["gunicorn", "granian"]
    workers: int
    threads: int
    poll: Seconds
    max_body: Mebibytes
    memory: Mebibytes
    timeout: Seconds
    environment: str
    control: bool
    jobs: PredictionJobSettings
    batching: dict[str, BatchingSettings]
    console: ConsoleSettings
    log: LogSettings
    prometheus: str
    tokens: str

    @property
    def tokens_path(self) -> Path | None:
        """File of the control API's tokens, ``~`` resolved; None: there is none."""
        return Path(self.tokens).expanduser() if self.tokens else None


class Config(Record, frozen=True, kw_only=True):
    """Everything that can be set."""

    home: str
    storage: Storage
    bundles: BundleSettings
    registry: RegistrySettings
    cluster: ClusterSettings
    security: SecuritySettings
    spark: SparkSettings
    training: TrainingSettings
    serving: ServingSettings

    @property
    def home_path(self) -> Path:
        """The home folder, ``~`` resolved."""
        return Path(self.home).expanduser().absolute()

    @property
    def console_key_path(self) -> Path:
        """File of the secret that signs sessions of the console."""
        named = self.serving.console.key
        return Path(named).expanduser() if named else self.home_path / "serving" / "console.key"

    @property
    def registry_url(self) -> str:
        """SQLAlchemy URL of the registry."""
        return self.registry.url or f"sqlite:///{self.home_path / 'registry.db'}"

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking URI."""
        return self.registry.tracking or f"sqlite:///{self.home_path / 'mlflow.db'}"

    @property
    def training_python(self) -> str:
        """Python of the training environment."""
        return self.training.python or str(environments.python_of("training"))

    @property
    def horovod_python(self) -> str:
        """Python of Horovod's environment."""
        return self.training.python or str(environments.python_of("horovod"))

    @property
    def spark_python(self) -> str:
        """Python of Spark's driver and executors."""
        return self.spark.python or sys.executable


class _Layer(msgspec.Struct, frozen=True):
    """One source of settings: its name in errors and its keys."""

    source: str
    values: dict[str, Any]


def load_config(path: str | Path | None = None, overrides: Sequence[str] = (), *, home: str | None = None) -> Config:
    """Return the configuration.

    Parameters
    ----------
    path
        The user's YAML file; None takes ``YARNMILL_CONFIG`` if that is set.
    overrides
        ``key.path=value`` texts, each parsed as YAML.
    home
        Home folder that a command's ``--home`` names; wins over all other layers.

    Raises
    ------
    NotFoundError
        If the named file is not there.
    ConfigurationError
        If a key is unknown, missing or ill-typed: key path and source are named.
    """
    layers = [_defaults()]
    named = path if path is not None else os.environ.get("YARNMILL_CONFIG") or None
    if named is not None:
        layers.append(_from_file(Path(named)))
    layers.extend(_from_override(text) for text in overrides)
    if home is not None:
        layers.append(_Layer("--home", {"home": home}))
    # Layer by layer, so that the first layer that breaks the configuration is the one named.
    merged = layers[0].values
    config = convert(merged, Config, source=layers[0].source)
    for layer in layers[1:]:
        merged = _merge(merged, layer.values)
        config = convert(merged, Config, source=layer.source)
    return config


def _defaults() -> _Layer:
    resource = files("conf") / "yarnmill.yaml"
    return _Layer("conf/yarnmill.yaml", parse_yaml_mapping(resource.read_text(), source="conf/yarnmill.yaml"))


def _from_file(path: Path) -> _Layer:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such configuration file", mend="correct --config or YARNMILL_CONFIG")
    return _Layer(str(path), parse_yaml_mapping(path.read_text(), source=str(path)))


def _from_override(text: str) -> _Layer:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"--set {text}: no key=value", expected="such as --set spark.executors=4")
    nested: Any = yaml.safe_load(value)
    for name in reversed(key.strip().split(".")):
        nested = {name: nested}
    return _Layer(f"--set {text}", nested)


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
