"""The main job: from ratings on HDFS to REST answers that equal batch scores, step by step.

Every step finds out by itself whether its inputs changed since it last ran; nothing here decides that.
"""

import datetime as dt
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobs.job import JobConfig, load_job
from tony_py.client import run_application
from tony_py.loading import load_application
from yarnmill import fs, yarn
from yarnmill.blobs import open_store
from yarnmill.bundle.manifest import Flavour
from yarnmill.bundle.store import read_bundle_manifest
from yarnmill.cli.demo_compare import ask, instance_of, largest_difference, read_rows, read_scores
from yarnmill.cli.demo_movielens import ingest
from yarnmill.cli.demo_report import (
    AppRecord,
    BaselineRecord,
    DemoReport,
    ModelRecord,
    ServingRecord,
    StepRecord,
    StepState,
    machine,
)
from yarnmill.config import Config
from yarnmill.errors import JobFailedError, NotFoundError, YarnMillError
from yarnmill.lifecycle.deploy import deploy
from yarnmill.lifecycle.publish import Published, publish
from yarnmill.records import parse_yaml_mapping
from yarnmill.report import RunReport
from yarnmill.sparksubmit import run_job
from yarnmill.trainingset import read_training_set
from yarnmill.units import render_seconds

ROWS_COMPARED: Final = 2000
TOLERANCE: Final = {"glmix": 1e-9, "torch": 1e-5, "tensorflow": 1e-5}
"""Largest difference allowed between a REST answer and the batch score: double and single precision."""

Progress = Callable[[str], None]


def examples_folder() -> Path:
    """Return the folder of the MovieLens example in this checkout; NotFoundError outside of one."""
    folder = Path(__file__).resolve().parents[2] / "examples" / "movielens"
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: the example is not installed", mend="run the demo from a checkout: make demo")
    return folder


class _Step:
    """What the body of a step says of itself."""

    def __init__(self) -> None:
        self.state: StepState = "done"
        self.detail = ""


class MainJob:
    """One run of the main job.

    Parameters
    ----------
    config
        The platform's configuration; ``HADOOP_CONF_DIR`` must name a running cluster.
    server
        Starts the serving tier and returns its URL.
    fast
        GLMix alone: no training frameworks are needed.
    progress
        Called with a line whenever something happened.
    """

    def __init__(self, config: Config, server: Callable[[], str], *, fast: bool, progress: Progress) -> None:
        self._config = config
        self._server = server
        self._flavours: tuple[Flavour, ...] = ("glmix",) if fast else ("glmix", "torch", "tensorflow")
        self._progress = progress
        self._examples = examples_folder()
        self._started_at = dt.datetime.now(dt.UTC)
        self._clock = time.monotonic()
        self._steps: list[StepRecord] = []
        self._apps: list[AppRecord] = []
        self._models: list[ModelRecord] = []
        self._baselines: list[BaselineRecord] = []
        self._serving: list[ServingRecord] = []

    def run(self) -> None:
        """Run all steps; what was done before an error is still in :meth:`report`."""
        self._load_tables()
        self._spark("training set", "build_training_set", "build_training_set.yaml")
        outputs = {flavour: self._train(flavour) for flavour in self._flavours}
        published = {flavour: self._publish(flavour, url) for flavour, url in outputs.items()}
        url = self._serve()
        scores = self._score(published)
        for flavour, model in published.items():
            self._compare(flavour, model, url, scores)
        self._judge()

    def report(self, error: BaseException | None = None) -> DemoReport:
        """Return what was done so far; ``error`` is what ended it, if anything did."""
        return DemoReport(
            state="failed" if error else "succeeded",
            started_at=self._started_at,
            seconds=time.monotonic() - self._clock,
            machine=machine(),
            steps=tuple(self._steps),
            apps=tuple(self._apps),
            models=tuple(self._models),
            baselines=tuple(self._baselines),
            serving=tuple(self._serving),
            error=(str(error) or type(error).__name__) if error else "",
        )

    @contextmanager
    def step(self, name: str) -> Iterator[_Step]:
        """Run the block as a step: announced, timed, recorded, also when it fails."""
        self._progress(f"── {name}")
        step, started = _Step(), time.monotonic()
        try:
            yield step
        except BaseException as error:
            step.state, step.detail = "failed", str(error) or type(error).__name__
            raise
        finally:
            seconds = time.monotonic() - started
            self._steps.append(StepRecord(name=name, state=step.state, seconds=seconds, detail=step.detail))
            self._progress(f"   {name}: {step.state} after {render_seconds(seconds)}")

    # -- the steps ----------------------------------------------------------------------------------------------

    def _load_tables(self) -> None:
        with self.step("load MovieLens into HDFS") as step:
            report, written = ingest(self._config, self._say)
            step.state = "done" if written else "up to date"
            step.detail = f"{report.counts['rows_ratings']} ratings"

    def _train(self, flavour: str) -> str:
        if flavour == "glmix":
            report = self._spark("train GLMix", "train_glmix", "train_glmix.yaml")
            self._baselines.extend(_baseline_record(name, metrics) for name, metrics in report.baselines.items())
        else:
            self._gang(f"train {flavour}", f"{flavour}.yaml")
        return self._run_url(flavour)

    def _run_url(self, name: str) -> str:
        return fs.join(self._config.storage.runs, "movielens", name)

    def _spark(self, step_name: str, job: str, file: str, more: Mapping[str, object] | None = None) -> RunReport:
        with self.step(step_name) as step:
            config = self._job_config(job, file, more or {})
            report, ran = run_job(job, config, self._config, self._say)
            self._ended(step, report, "SPARK", ran=ran)
        return report

    def _job_config(self, job: str, file: str, more: Mapping[str, object]) -> JobConfig:
        path = self._examples / file
        plain = parse_yaml_mapping(path.read_text(), source=str(path))
        return load_job(job).parse({**plain, **more}, source=str(path))

    def _gang(self, step_name: str, file: str) -> None:
        with self.step(step_name) as step:
            application = load_application(self._examples / file)
            report, ran = run_application(application, self._config, self._say, overwrite=True)
            self._ended(step, report, "skein", ran=ran)

    def _ended(self, step: _Step, report: RunReport, kind: str, *, ran: bool) -> None:
        step.state = "done" if ran else "up to date"
        step.detail = report.application_id
        self._apps.append(
            AppRecord(
                name=report.job,
                yarn_application_id=report.application_id,
                type=kind,
                final_status=_final_status(report),
            )
        )

    def _publish(self, flavour: Flavour, output: str) -> Published:
        with self.step(f"publish {flavour}") as step:
            model = f"movielens-{flavour}"
            published = publish(output, model, flavour, self._config)
            deploy(model, published.version, self._config)
            step.state = "done" if published.created else "up to date"
            step.detail = f"{model} version {published.version}: bundle {published.bundle_id}"
            self._say(step.detail)
        return published

    def _serve(self) -> str:
        with self.step("serve") as step:
            step.detail = self._server()
            self._say(f"serving on {step.detail}")
        return step.detail

    def _score(self, published: Mapping[Flavour, Published]) -> str:
        models = [{"name": each.model, "bundle_id": each.bundle_id} for each in published.values()]
        report = self._spark("score the test rows", "score", "score.yaml", {"models": models})
        self._models.extend(_model_record(flavour, each, report) for flavour, each in published.items())
        return self._run_url("scores")

    def _compare(self, flavour: str, published: Published, url: str, scores_url: str) -> None:
        with self.step(f"compare REST with batch: {flavour}") as step:
            training_set_url = self._run_url("training_set")
            training_set = read_training_set(training_set_url)
            manifest = read_bundle_manifest(open_store(self._config.storage.blobs), published.bundle_id)
            rows = read_rows(training_set_url, "test", ROWS_COMPARED)
            answers = list(
                ask(url, published.model, [instance_of(row, manifest.signature, training_set) for row in rows])
            )
            difference = largest_difference(rows, answers, read_scores(scores_url, published.model))
            self._serving.append(
                ServingRecord(
                    model=published.model,
                    rows_compared=len(rows),
                    max_abs_diff=difference,
                    tolerance=TOLERANCE[flavour],
                )
            )
            step.detail = f"{len(rows)} rows, largest difference {difference:.2e}"
            self._say(step.detail)
            if not difference <= TOLERANCE[flavour]:
                raise JobFailedError(
                    f"{published.model}: REST and batch differ by {difference:.3e}",
                    expected=f"at most {TOLERANCE[flavour]:.0e}",
                )

    def _judge(self) -> None:
        """Refuse a run whose models are no better than what they have to beat."""
        with self.step("judge the models") as step:
            log_loss = {model.name: model.test_log_loss for model in self._models}
            log_loss |= {baseline.name: baseline.test_log_loss for baseline in self._baselines}
            order = ["movielens-glmix", "global_only", "global_mean"]
            step.detail = " < ".join(f"{name} {log_loss[name]:.4f}" for name in order)
            if not log_loss[order[0]] < log_loss[order[1]] < log_loss[order[2]]:
                raise JobFailedError(f"test log loss is not in order: {step.detail}", expected=" < ".join(order))
            self._say(f"test log loss: {step.detail}")

    def _say(self, message: str) -> None:
        self._progress(f"   {message}")


def _final_status(report: RunReport) -> str:
    """Return YARN's word, or the report's once the ResourceManager has forgotten the application."""
    try:
        return yarn.application(report.application_id).final_status
    except YarnMillError:
        return report.state.upper()


def _baseline_record(name: str, metrics: Mapping[str, float]) -> BaselineRecord:
    return BaselineRecord(
        name=name,
        test_auc=metrics["test_auc"],
        test_log_loss=metrics["test_log_loss"],
        test_auc_per_user=metrics.get("test_auc_per_user"),
        test_log_loss_per_user=metrics.get("test_log_loss_per_user"),
    )


def _model_record(flavour: str, published: Published, scored: RunReport) -> ModelRecord:
    return ModelRecord(
        name=published.model,
        flavour=flavour,
        version=published.version,
        bundle_id=published.bundle_id,
        test_auc=scored.metrics[f"{published.model}.auc"],
        test_log_loss=scored.metrics[f"{published.model}.log_loss"],
        test_auc_per_user=scored.metrics.get(f"{published.model}.auc_per_user"),
        test_log_loss_per_user=scored.metrics.get(f"{published.model}.log_loss_per_user"),
    )
