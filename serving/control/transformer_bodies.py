"""Merlin's configuration of a standard transformer, as far as a transformer here is the same: the rest is refused.

See https://github.com/caraml-dev/merlin/blob/main/docs/user-guide/standard_transformer.md.
"""

from typing import Annotated, Any, Literal

import msgspec

ValueType = Literal["INT", "FLOAT", "STRING"]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all parts: what is not named here is refused by its path, for it would change what comes out."""


class FromJson(Part, frozen=True, kw_only=True):
    """A value, or one a row, of the request."""

    json_path: str
    default_value: str | int | float | bool | None = None
    value_type: ValueType | None = None


class LiteralValue(Part, frozen=True, kw_only=True):
    """A value that stands in the configuration."""

    string_value: str | None = None
    int_value: int | str | None = None
    float_value: float | None = None
    bool_value: bool | None = None


class Variable(Part, frozen=True, kw_only=True):
    """One value for all rows."""

    name: str
    json_path: str | None = None
    json_path_config: FromJson | None = None
    literal: LiteralValue | None = None
    expression: str | None = None


class Entity(Part, frozen=True, kw_only=True):
    """A key to look features up by."""

    name: str
    value_type: str
    json_path: str | None = None
    json_path_config: FromJson | None = None
    expression: str | None = None


class FeastFeature(Part, frozen=True, kw_only=True):
    """A feature as ``table:feature``."""

    name: str
    value_type: str = "DOUBLE"
    default_value: str | int | float | None = None


class FeastTable(Part, frozen=True, kw_only=True):
    """A lookup; where Feast keeps its values is nobody's business here."""

    project: str
    entities: tuple[Entity, ...]
    features: tuple[FeastFeature, ...]
    table_name: str = ""
    source: str = ""
    server_url: str = ""


class TableName(Part, frozen=True, kw_only=True):
    """A table by its name."""

    table_name: str


class BaseTable(Part, frozen=True, kw_only=True):
    """What a table begins with."""

    from_table: TableName


class TableColumn(Part, frozen=True, kw_only=True):
    """A column of a table."""

    name: str
    from_json: FromJson | None = None
    expression: str | None = None


class Table(Part, frozen=True, kw_only=True):
    """A table of some columns."""

    name: str
    columns: tuple[TableColumn, ...] = ()
    base_table: BaseTable | None = None


class OrdinalConfig(Part, frozen=True, kw_only=True):
    """An ordinal encoder; values are texts, whatever they stand for."""

    mapping: dict[str, str]
    default_value: str | None = None
    target_value_type: Literal["INT", "FLOAT"] = "INT"


class ByEpochTime(Part, frozen=True, kw_only=True):
    """A cycle of the calendar."""

    period_type: Literal["HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "HALF", "YEAR"]


class MinMax(Part, frozen=True, kw_only=True):
    """A range."""

    min: float
    max: float


class CyclicalConfig(Part, frozen=True, kw_only=True):
    """A cyclical encoder."""

    by_epoch_time: ByEpochTime | None = None
    by_range: MinMax | None = None


class Encoder(Part, frozen=True, kw_only=True):
    """An encoder by name."""

    name: str
    ordinal_encoder_config: OrdinalConfig | None = None
    cyclical_encoder_config: CyclicalConfig | None = None


class InputStage(Part, frozen=True, kw_only=True):
    """One entry of the inputs."""

    variables: tuple[Variable, ...] = ()
    feast: tuple[FeastTable, ...] = ()
    tables: tuple[Table, ...] = ()
    encoders: tuple[Encoder, ...] = ()


class UpdateColumn(Part, frozen=True, kw_only=True):
    """A column by an expression."""

    column: str
    expression: str


class EncodeColumns(Part, frozen=True, kw_only=True):
    """Columns by an encoder."""

    columns: tuple[str, ...]
    encoder: str


class MeanStd(Part, frozen=True, kw_only=True):
    """A standard scaler."""

    mean: float
    std: float


class ScaleColumn(Part, frozen=True, kw_only=True):
    """A column by a scaler."""

    column: str
    standard_scaler_config: MeanStd | None = None
    min_max_scaler_config: MinMax | None = None


class TableStep(Part, frozen=True, kw_only=True):
    """One step over a table."""

    update_columns: tuple[UpdateColumn, ...] = ()
    encode_columns: tuple[EncodeColumns, ...] = ()
    scale_columns: tuple[ScaleColumn, ...] = ()
    rename_columns: dict[str, str] = {}
    drop_columns: tuple[str, ...] = ()
    select_columns: tuple[str, ...] = ()


class TableTransformation(Part, frozen=True, kw_only=True):
    """Steps over a table."""

    input_table: str
    output_table: str
    steps: tuple[TableStep, ...] = ()


class TransformationStage(Part, frozen=True, kw_only=True):
    """One entry of the transformations."""

    table_transformation: TableTransformation


class TableFormat(Part, frozen=True, kw_only=True):
    """A table as JSON."""

    table_name: str
    format: Literal["RECORD", "VALUES", "SPLIT"]


class OutputField(Part, frozen=True, kw_only=True):
    """A field of the model's request."""

    field_name: str
    from_table: TableFormat


class JsonTemplate(Part, frozen=True, kw_only=True):
    """The model's request."""

    fields: tuple[OutputField, ...]


class JsonOutput(Part, frozen=True, kw_only=True):
    """What makes it."""

    json_template: JsonTemplate


class OutputStage(Part, frozen=True, kw_only=True):
    """One entry of the outputs."""

    json_output: JsonOutput


class Pipeline(Part, frozen=True, kw_only=True):
    """What stands before the model."""

    inputs: tuple[InputStage, ...]
    transformations: tuple[TransformationStage, ...] = ()
    outputs: tuple[OutputStage, ...] = ()


class TransformerConfig(Part, frozen=True, kw_only=True):
    """The steps before the model; there are none after it."""

    preprocess: Pipeline


class StandardTransformer(Part, frozen=True, kw_only=True):
    """What Merlin's YAML holds."""

    transformer_config: TransformerConfig


class MockResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is to have answered; its headers are nobody's business here."""

    body: dict[str, Any] | None = None


class PredictionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the model is stood in for."""

    mock_response: MockResponse | None = None


class SimulationBody(msgspec.Struct, frozen=True, kw_only=True):
    """A transformer to try on a request: ``config`` is Merlin's own, or a transformer as it is declared here."""

    payload: dict[str, Any]
    config: Annotated[dict[str, Any], msgspec.Meta(min_length=1)]
    model_prediction_config: PredictionConfig | None = None
    protocol: Literal["HTTP_JSON", ""] | None = None


class PipelineTracing(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: of which kind, and the columns that it made, by row."""

    operation_type: Literal["create_table_op", "feast_op", "table_transform_op", "json_output_op"]
    spec: dict[str, Any]
    output: dict[str, Any]


class OperationTracing(msgspec.Struct, frozen=True, kw_only=True):
    """What was done before the model, and after it, which is nothing here."""

    preprocess: list[PipelineTracing]
    postprocess: list[PipelineTracing]


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """What a request comes to: the model's stand-in's answer, or without one what the model would be asked."""

    response: dict[str, Any]
    operation_tracing: OperationTracing
