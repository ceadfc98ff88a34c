"""YarnMill from a notebook: publish a model that stands in memory, deploy it, ask it.

::

    from yarnmill.sdk import Platform

    platform = Platform()
    version = platform.publish(model, "rank", example=features[:10])
    platform.deploy(version)
    platform.predict("rank", features[:3])
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import requests

from yarnmill.bundle.manifest import Flavour
from yarnmill.config import Config, load_config
from yarnmill.errors import BadDataError, ClusterUnavailableError, ConfigurationError, NotFoundError, YarnMillError
from yarnmill.registry import ModelEndpoint, ModelVersion, Registry, Rule
from yarnmill.registry.names import parse_version_name
from yarnmill.registry.records import Destination

if TYPE_CHECKING:
    from yarnmill.drift.comparison import ModelDrift
    from yarnmill.drift.rules import Rules
    from yarnmill.lifecycle.estimators import Rows

_TIMEOUT_S: Final = 60.0
_REFUSALS: Final[Mapping[int, type[YarnMillError]]] = {404: NotFoundError, 503: ClusterUnavailableError}


class Platform:
    """The registry, the blob store and the serving tier of a configuration.

    Parameters
    ----------
    config
        None: as the command ``yarnmill`` finds it, in the file that YARNMILL_CONFIG names, over the defaults.
    tier
        URL of the serving tier; empty: the target of the environment, or the tier of the configuration.
    environment
        Where versions answer; None: the default environment.
    progress
        Called with one line a step.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        tier: str = "",
        environment: str | None = None,
        progress: Callable[[str], None] = print,
    ) -> None:
        self.config = load_config() if config is None else config
        self._tier = tier.rstrip("/")
        self._environment = environment
        self._progress = progress

    @property
    def registry(self) -> Registry:
        """The registry: models, versions, endpoints."""
        return Registry(self.config.registry_url)

    def publish(  # noqa: PLR0913  # each by name
        self,
        model: object,
        name: str,
        *,
        example: "Rows | None" = None,
        reference: "Rows | None" = None,
        flavour: Flavour | None = None,
        metrics: Mapping[str, float] = {},  # only read
        labels: Mapping[str, str] = {},  # only read
        transformer: str | Path | None = None,
    ) -> ModelVersion:
        """Make a model the next version of ``name``; the same model again is the same version.

        Parameters
        ----------
        model
            A fitted model of scikit-learn, XGBoost or LightGBM; or the URL of a training run's output.
        name
            The model's name in the registry.
        example
            Rows that a fitted model can answer, ``(rows, features)``; some of them stay with it.
        reference
            Rows of the data that a fitted model was trained on, of which counts stay with it: the serving tier compares
            its requests with them.
        flavour
            How the training run's model was trained; needed for a URL alone.
        metrics, labels
            Of the version.
        transformer
            File that declares what stands between a request and the model, such as lookups of features.

        Raises
        ------
        ConfigurationError
            If this is no such model, or what is needed with it is not given, or the transformer does not fit it.
        BadDataError
            If what was stored does not answer the example as the model does.
        """
        from yarnmill.lifecycle.publish import publish, work_folder  # noqa: PLC0415  # what opens models loads their libraries

        store = partial(
            publish,
            model=name,
            config=self.config,
            progress=self._progress,
            labels=dict(labels),
            transformer=None if transformer is None else Path(transformer),
        )
        if isinstance(model, str):
            if flavour is None:
                raise ConfigurationError("flavour: missing", expected="how the model of this training run was trained")
            published = store(model, flavour=flavour)
            return self.registry.versions.get(name, published.version)
        if example is None:
            raise ConfigurationError("example: missing", expected="some rows that the model can answer")
        from yarnmill.lifecycle.estimators import write_estimator  # noqa: PLC0415  # as above

        with work_folder(self.config) as folder:
            found = write_estimator(Path(folder), model, example, metrics, reference)
            published = store(folder, flavour=found)
        return self.registry.versions.get(name, published.version)

    def deploy(self, version: ModelVersion | str) -> ModelEndpoint:
        """Let a version answer for its model, alone.

        Parameters
        ----------
        version
            A version, or its name such as ``rank/2``.

        Raises
        ------
        NotFoundError
            If there is no such version.
        BadDataError, JobFailedError
            If it cannot be opened or answers its example otherwise than when it was packed: what answered before does.
        """
        from yarnmill.lifecycle.deploy import deploy  # noqa: PLC0415  # as above

        model, number = parse_version_name(version if isinstance(version, str) else version.name)
        return deploy(model, number, self.config, environment=self._environment, progress=self._progress)

    def route(self, name: str, shares: Mapping[int, float], *, mirror: int | None = None) -> ModelEndpoint:
        """Divide a model's requests among versions.

        Parameters
        ----------
        name
            The model.
        shares
            Percent by version; they add up to 100.
        mirror
            A version that is asked too, its answer unused.

        Raises
        ------
        ConfigurationError
            If these are no shares.
        NotFoundError, BadDataError, JobFailedError
            As :meth:`deploy`.
        """
        from yarnmill.lifecycle.deploy import route  # noqa: PLC0415  # as above

        try:
            destinations = tuple(Destination(version=number, weight=float(share)) for number, share in shares.items())
            rule = Rule(destinations=destinations, mirror=mirror)
        except ValueError as problem:
            raise ConfigurationError(str(problem), expected="shares in percent, such as {1: 90, 2: 10}") from None
        return route(name, rule, self.config, environment=self._environment, progress=self._progress)

    def predict(
        self, name: str, rows: "Rows", *, version: int | None = None, unit: str | None = None
    ) -> npt.NDArray[np.generic] | dict[str, npt.NDArray[np.generic]]:
        """Ask the serving tier.

        Parameters
        ----------
        name
            The model.
        rows
            A DataFrame with a column an input, or a matrix ``(rows, features)`` for a model of one input.
        version
            None: the one that the rule gives.
        unit
            Who or what the request is for: one unit is answered by the same version every time.

        Returns
        -------
        array or dict
            The output ``(rows, ...)``; by name where there are several.

        Raises
        ------
        ClusterUnavailableError
            If no tier answers there, or the model is not there yet.
        NotFoundError
            If the model or the version is not deployed.
        BadDataError
            If the tier refuses the rows: with its reason.
        """
        columns = getattr(rows, "columns", None)
        values: Any = rows
        inputs = values.tolist() if columns is None else {str(key): values[key].tolist() for key in columns}
        address = f"{self.tier}/v1/models/{name}" + ("" if version is None else f"/versions/{version}")
        headers = {} if unit is None else {"X-Unit-Id": unit}
        try:
            answer = requests.post(
                f"{address}:predict",
                data=orjson.dumps({"inputs": inputs}),  # NaN, which is missing, becomes null
                headers={"Content-Type": "application/json", **headers},
                timeout=_TIMEOUT_S,
            )
            document = answer.json()
        except (requests.RequestException, ValueError) as problem:
            raise ClusterUnavailableError(
                f"{self.tier}: no answer of a serving tier: {problem}", mend="yarnmill serve, or Platform(tier=URL)"
            ) from None
        if answer.status_code != 200:
            refusal = _REFUSALS.get(answer.status_code, BadDataError)
            raise refusal(f"{self.tier}: {document.get('error', answer.status_code)}")
        outputs = document["outputs"]
        if isinstance(outputs, dict):
            return {key: np.asarray(values) for key, values in outputs.items()}
        return np.asarray(outputs)

    def drift(self, name: str, rules: "Rules | None" = None) -> "ModelDrift":
        """Compare what a model was asked and answered, in this hour and the one before, with its training data.

        Parameters
        ----------
        name
            The model.
        rules
            How far apart both may be; None: the standard rules.

        Raises
        ------
        ClusterUnavailableError
            If no tier answers.
        NotFoundError
            If the model is not deployed, or was published without a reference.
        """
        from yarnmill.drift.rules import Rules  # noqa: PLC0415  # most programs need none
        from yarnmill.lifecycle.watch import watch  # noqa: PLC0415  # likewise

        return watch(name, (self.tier,), Rules() if rules is None else rules, progress=self._progress)

    @property
    def tier(self) -> str:
        """URL of the serving tier."""
        if self._tier:
            return self._tier
        try:
            target = self.registry.environments.get(self._environment).target
        except YarnMillError:
            target = ""
        serving = self.config.serving
        return target.rstrip("/") if target.startswith("http") else f"http://{serving.host}:{serving.port}"
