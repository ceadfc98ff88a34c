"""From Merlin's configuration of a standard transformer to a transformer as it is declared here.

There a value has its type from the request, so what no ``valueType`` says is taken from the request that is simulated.
Tables there are views here: names of columns, of which there is one set. What would come out otherwise is refused.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from serving.control import transformer_bodies as merlin
from serving.refusals import BadRequestError
from serving.transformer.definition import InputDtype, TransformerDefinition
from serving.transformer.jsonpath import parse_json_path
from yarnmill.errors import ConfigurationError, YarnMillError
from yarnmill.records import convert

_COLUMN: Final = re.compile(r"""\b\w+\.Col\(\s*(?P<quote>['"])(?:\w+:)?(?P<name>\w+)(?P=quote)\s*\)""")
_DTYPES: Final[Mapping[str, InputDtype]] = {"INT": "int64", "FLOAT": "float64", "STRING": "string"}
_KEYS: Final[Mapping[str, InputDtype]] = {"STRING": "string", "INT32": "int64", "INT64": "int64"}
_NUMBERS: Final = frozenset({"DOUBLE", "FLOAT", "INT32", "INT64"})


class Mapped(NamedTuple):
    """A transformer, and the columns of each of Merlin's tables."""

    definition: TransformerDefinition
    tables: dict[str, list[str]]
    outputs: tuple[merlin.OutputField, ...]


def mapped(config: dict[str, Any], payload: dict[str, Any]) -> Mapped:
    """Return Merlin's configuration as a transformer.

    Parameters
    ----------
    config
        The value of ``config``.
    payload
        The request, for types that the configuration leaves open.

    Raises
    ------
    BadRequestError
        Naming the path of what is not had here.
    """
    parsed = convert(config, merlin.StandardTransformer, source="config", error=BadRequestError)
    pipeline = parsed.transformer_config.preprocess
    mapping = _Mapping(payload)
    root = "config.transformerConfig.preprocess"
    for place, stage in enumerate(pipeline.inputs):
        mapping.add_inputs(stage, f"{root}.inputs[{place}]")
    for place, step in enumerate(pipeline.transformations):
        mapping.add_table(step.table_transformation, f"{root}.transformations[{place}].tableTransformation")
    outputs = tuple(field for one in pipeline.outputs for field in one.json_output.json_template.fields)
    for one in outputs:
        mapping.columns_of(one.from_table.table_name, f"{root}.outputs")
    with _refused_at(root):
        plain = {"inputs": mapping.inputs, "lookups": mapping.lookups, "transformations": mapping.steps}
        definition = convert(plain, TransformerDefinition, source="as a transformer here")
    return Mapped(definition, mapping.tables, outputs)


class _Mapping:
    """What a transformer is put together of, as plain data."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self._payload = payload
        self._encoders: dict[str, merlin.Encoder] = {}
        self.inputs: list[dict[str, Any]] = []
        self.lookups: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.tables: dict[str, list[str]] = {}

    def add_inputs(self, stage: merlin.InputStage, path: str) -> None:
        """Add one entry of the inputs."""
        self._encoders |= {one.name: one for one in stage.encoders}
        for place, variable in enumerate(stage.variables):
            self._add_variable(variable, f"{path}.variables[{place}]")
        for place, table in enumerate(stage.feast):
            self._add_lookup(table, f"{path}.feast[{place}]")
        for place, one in enumerate(stage.tables):
            self._add_columns(one, f"{path}.tables[{place}]")

    def add_table(self, table: merlin.TableTransformation, path: str) -> None:
        """Add the steps over a table."""
        columns = list(self.columns_of(table.input_table, f"{path}.inputTable"))
        for place, step in enumerate(table.steps):
            columns = self._add_step(step, columns, f"{path}.steps[{place}]")
        self.tables[table.output_table] = columns

    def columns_of(self, table: str, path: str) -> list[str]:
        """Return the columns of a table; BadRequestError if there is none of the name."""
        if table not in self.tables:
            raise BadRequestError(f"{path}: no table {table!r}", expected=f"one of {', '.join(self.tables) or 'none'}")
        return self.tables[table]

    def _add_variable(self, variable: merlin.Variable, path: str) -> None:
        json = variable.json_path_config or _path(variable.json_path)
        if json is not None:
            self._add_input(variable.name, json, path)
        elif variable.literal is not None:
            self._add_expression(variable.name, _literal(variable.literal, path))
        elif variable.expression is not None:
            self._add_expression(variable.name, variable.expression)
        else:
            raise BadRequestError(f"{path}: has no value", expected="jsonPathConfig, literal or expression")

    def _add_input(self, name: str, json: merlin.FromJson, path: str, dtype: InputDtype | None = None) -> None:
        with _refused_at(f"{path}.jsonPath"):
            values = [one for one in parse_json_path(json.json_path).getter()(self._payload) if one is not None]
        wanted = dtype or _DTYPES.get(json.value_type or "") or _dtype_of(values, path)
        default = json.default_value
        if default is not None:
            with _refused_at(f"{path}.defaultValue"):
                default = _of_type(str(default), wanted)
        one = {"name": name, "json_path": json.json_path, "dtype": wanted, "default": default}
        made = one if default is not None or wanted == "int64" else {**one, "required": False}
        self.inputs += [made] if made not in self.inputs else []  # several lookups may have one key

    def _add_lookup(self, feast: merlin.FeastTable, path: str) -> None:
        entities: dict[str, str] = {}
        for place, entity in enumerate(feast.entities):
            at = f"{path}.entities[{place}]"
            if entity.value_type not in _KEYS:
                raise BadRequestError(f"{at}.valueType: {entity.value_type!r}", expected=f"one of {', '.join(_KEYS)}")
            json = entity.json_path_config or _path(entity.json_path)
            if json is not None:
                self._add_input(entity.name, json, at, _KEYS[entity.value_type])
            entities[entity.name] = entity.name if json is not None else (entity.expression or "")
        by_table: dict[str, list[dict[str, Any]]] = {}
        for place, feature in enumerate(feast.features):
            table, colon, name = feature.name.partition(":")
            if not colon or feature.value_type not in _NUMBERS:
                raise BadRequestError(
                    f"{path}.features[{place}]: {feature.name!r} of {feature.value_type}",
                    expected=f"table:feature, of one of {', '.join(sorted(_NUMBERS))}",
                )
            with _refused_at(f"{path}.features[{place}].defaultValue"):
                default = None if feature.default_value is None else _of_type(str(feature.default_value), "float64")
            by_table.setdefault(f"{feast.project}.{table}", []).append({"name": name, "default": default})
        self.lookups += [{"table": table, "entities": entities, "features": some} for table, some in by_table.items()]
        columns = [*entities, *(one["name"] for some in by_table.values() for one in some)]
        self.tables[feast.table_name or "_".join(entities)] = columns

    def _add_columns(self, table: merlin.Table, path: str) -> None:
        base = table.base_table
        columns = [] if base is None else list(self.columns_of(base.from_table.table_name, f"{path}.baseTable"))
        for place, column in enumerate(table.columns):
            if column.from_json is not None:
                self._add_input(column.name, column.from_json, f"{path}.columns[{place}].fromJson")
            elif column.expression is not None:
                self._add_expression(column.name, column.expression)
            else:
                raise BadRequestError(f"{path}.columns[{place}]: has no value", expected="fromJson or expression")
            columns += [column.name] if column.name not in columns else []
        self.tables[table.name] = columns

    def _add_expression(self, column: str, text: str) -> None:
        self.steps.append({"column": column, "expression": _COLUMN.sub(lambda found: found["name"], text)})

    def _add_step(self, step: merlin.TableStep, columns: list[str], path: str) -> list[str]:
        """Add one step; return the columns that the table has after it."""
        made: list[str] = []
        for update in step.update_columns:
            self._add_expression(update.column, update.expression)
            made.append(update.column)
        for place, each in enumerate(step.encode_columns):
            made += self._encoded(each, f"{path}.encodeColumns[{place}]")
        for place, scale in enumerate(step.scale_columns):
            self.steps.append({"column": scale.column, **_scaler(scale, f"{path}.scaleColumns[{place}]")})
        for old, new in step.rename_columns.items():
            self._add_expression(new, old)
        named = [step.rename_columns.get(name, name) for name in columns]
        named += [name for name in made if name not in named]
        kept = [name for name in named if name not in step.drop_columns]
        lacking = [name for name in step.select_columns if name not in kept]
        if lacking:
            raise BadRequestError(f"{path}.selectColumns: no column {lacking[0]!r}", expected=", ".join(kept))
        return list(step.select_columns) or kept

    def _encoded(self, each: merlin.EncodeColumns, path: str) -> list[str]:
        encoder = self._encoders.get(each.encoder)
        if encoder is None:
            raise BadRequestError(
                f"{path}.encoder: no {each.encoder!r}", expected=f"one of {', '.join(self._encoders)}"
            )
        operation = _encoder(encoder, path)
        self.steps += [{"column": column, **operation} for column in each.columns]
        is_cyclical = "cyclical_encoder" in operation
        return [f"{column}_{axis}" for column in each.columns for axis in "xy"] if is_cyclical else []


def _path(text: str | None) -> merlin.FromJson | None:
    return None if text is None else merlin.FromJson(json_path=text)


def _dtype_of(values: list[Any], path: str) -> InputDtype:
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float}:
        return "int64" if kinds == {int} else "float64"
    if kinds == {str}:
        return "string"
    raise BadRequestError(f"{path}: of no type that the request says", expected="valueType, or numbers or texts there")


def _of_type(text: str, dtype: InputDtype) -> int | float | str:
    if dtype == "string":
        return text
    try:
        return float(text) if dtype == "float64" else int(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no {dtype}", expected="a value of the type that is named") from None


def _literal(literal: merlin.LiteralValue, path: str) -> str:
    given = (literal.string_value, literal.int_value, literal.float_value, literal.bool_value)
    found = [value for value in given if value is not None]
    if len(found) != 1:
        raise BadRequestError(f"{path}.literal: {len(found)} values", expected="one")
    with _refused_at(f"{path}.literal"):
        return repr(_of_type(str(found[0]), "int64") if literal.int_value is not None else found[0])


def _encoder(encoder: merlin.Encoder, path: str) -> dict[str, Any]:
    ordinal, cyclical = encoder.ordinal_encoder_config, encoder.cyclical_encoder_config
    if ordinal is not None:
        dtype = _DTYPES[ordinal.target_value_type]
        with _refused_at(f"{path}: encoder {encoder.name}"):
            codes = {text: _of_type(code, dtype) for text, code in ordinal.mapping.items()}
            other = None if ordinal.default_value is None else _of_type(ordinal.default_value, dtype)
        return {"ordinal_encoder": {"mapping": codes, "default": other}}
    if cyclical is not None and cyclical.by_epoch_time is not None:
        return {"cyclical_encoder": {"period": cyclical.by_epoch_time.period_type.lower()}}
    if cyclical is not None and cyclical.by_range is not None:
        return {"cyclical_encoder": {"min": cyclical.by_range.min, "max": cyclical.by_range.max}}
    raise BadRequestError(
        f"{path}: encoder {encoder.name} has no configuration", expected="an ordinal or a cyclical one"
    )


def _scaler(scale: merlin.ScaleColumn, path: str) -> dict[str, Any]:
    standard, min_max = scale.standard_scaler_config, scale.min_max_scaler_config
    if standard is not None:
        return {"standard_scaler": {"mean": standard.mean, "std": standard.std}}
    if min_max is not None:
        return {"min_max_scaler": {"min": min_max.min, "max": min_max.max}}
    raise BadRequestError(f"{path}: no scaler", expected="standardScalerConfig or minMaxScalerConfig")


@contextmanager
def _refused_at(path: str) -> Iterator[None]:
    """Turn errors of a transformer's declaration into ones of the body, by their place in it."""
    try:
        yield
    except YarnMillError as problem:
        raise BadRequestError(f"{path}: {problem.what}", expected=problem.expected, mend=problem.mend) from None
