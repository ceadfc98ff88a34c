"""``yarnmill serving simulate``: a transformer tried on a request, nothing deployed."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from yarnmill.cli.models_options import environment_option
from yarnmill.cli.options import output_option, print_json, print_table, with_config
from yarnmill.config import Config
from yarnmill.errors import BadDataError, NotFoundError

if TYPE_CHECKING:
    from serving.transformer.simulation import PlainColumns, Simulation
    from yarnmill.flavours.predictor import Predictor
    from yarnmill.registry import Registry

_MOST_SHOWN = 20


class _Model(NamedTuple):
    predictor: "Predictor"
    transformer: Path


@click.command()
@click.option("--transformer", type=click.Path(path_type=Path), default=None, help="Its YAML [the model's own].")
@click.option("--request", "request_file", default="-", metavar="FILE", help="The request's body; - is standard input.")
@click.option(
    "--model", "version", type=(str, int), default=None, metavar="MODEL VERSION", help="The model that is asked then."
)
@environment_option
@output_option
@with_config
def simulate(  # click's options
    *,
    transformer: Path | None,
    request_file: str,
    version: tuple[str, int] | None,
    environment: str | None,
    output: str,
    config: Config,
) -> None:
    """Show what a transformer makes of a request, step by step, and what the model answers; nothing is deployed.

    Features are those of the snapshots that answer now. Without --model the request ends with what a model would get.
    """
    # What opens models loads their libraries: not for the tokens.
    from serving.refusals import ModelUnavailableError, RequestError  # noqa: PLC0415
    from serving.transformer.definition import parse_transformer  # noqa: PLC0415
    from serving.transformer.simulation import simulate as simulated  # noqa: PLC0415
    from serving.transformer.transformer import Transformer  # noqa: PLC0415
    from yarnmill.lifecycle.features import registry_snapshots  # noqa: PLC0415
    from yarnmill.registry import Registry  # noqa: PLC0415

    if transformer is None and version is None:
        raise click.UsageError("no transformer: --transformer FILE, or --model MODEL VERSION for its own")
    registry = Registry(config.registry_url)
    document = _document(request_file)
    with ExitStack() as stack:
        model = None if version is None else stack.enter_context(_opened(registry, *version, config))
        path = transformer or (model.transformer if model is not None else Path())
        if not path.is_file():
            raise NotFoundError(f"{path}: no such file", expected="a transformer in YAML", mend="--transformer FILE")
        definition = parse_transformer(path.read_text(), source=str(path))
        predictor = None if model is None else model.predictor
        signature = None if predictor is None else predictor.signature
        snapshots = registry_snapshots(registry, config, environment)
        try:
            found = simulated(Transformer(definition, signature, snapshots, source=str(path)), document, predictor)
        except ModelUnavailableError as problem:
            raise NotFoundError(problem.what, expected=problem.expected, mend=problem.mend) from None
        except RequestError as problem:
            raise BadDataError(
                f"{request_file}: {problem.what}", expected=problem.expected, mend=problem.mend
            ) from None
    if output == "json":
        print_json(found)
    else:
        _print(found)


@contextmanager
def _opened(registry: "Registry", model: str, number: int, config: Config) -> "Iterator[_Model]":
    from yarnmill.blobs import open_store  # noqa: PLC0415  # as above
    from yarnmill.bundle.manifest import TRANSFORMER_NAME  # noqa: PLC0415
    from yarnmill.bundle.store import fetch_held  # noqa: PLC0415
    from yarnmill.flavours.open import open_predictor  # noqa: PLC0415

    version = registry.versions.get(model, number)
    cache, limit_bytes = config.home_path / "cache" / "bundles", config.bundles.limit_bytes
    with fetch_held(open_store(version.blobs_url), version.bundle_id, cache, limit_bytes=limit_bytes) as held:
        predictor = open_predictor(
            held.folder, allow_code=config.bundles.allow_code, training_python=config.training_python
        )
        yield _Model(predictor, held.folder / TRANSFORMER_NAME)


def _document(request_file: str) -> dict[str, Any]:
    path = Path(request_file)
    if request_file != "-" and not path.is_file():
        raise NotFoundError(f"{path}: no such file", expected="a request's body in JSON")
    text = sys.stdin.read() if request_file == "-" else path.read_text()
    try:
        document = json.loads(text)
    except ValueError as problem:
        raise BadDataError(f"{request_file}: not JSON: {problem}", expected='such as {"user_id": 7}') from None
    if not isinstance(document, dict):
        raise BadDataError(f"{request_file}: no object", expected='such as {"user_id": 7}')
    return document


def _print(found: "Simulation") -> None:
    for step in found.steps:
        _print_columns(f"{step.part} {step.name}".strip(), step.columns)
    _print_columns("the model gets", found.asked)
    if found.outputs is not None:
        _print_columns("the model answers", found.outputs)


def _print_columns(title: str, columns: "PlainColumns") -> None:
    """Print a table; a column with one value stands for all rows, and is printed once."""
    rows = max((len(values) for values in columns.values()), default=0)
    more = f" (the first {_MOST_SHOWN} of {rows} rows)" if rows > _MOST_SHOWN else ""
    shown = [[_cell(values, row) for values in columns.values()] for row in range(min(rows, _MOST_SHOWN))]
    click.echo(f"\n{title}{more}")
    print_table("", list(columns), shown)


def _cell(values: list[Any], row: int) -> str:
    return json.dumps(values[row], ensure_ascii=False) if row < len(values) else ""
