"""Merlin's simulation of a standard transformer: nothing is deployed, the features are those that are."""

from typing import Any, Final, Literal

import msgspec
from flask import Blueprint, Response

from serving.control.bodies import read_body
from serving.control.transformer_bodies import (
    OperationTracing,
    PipelineTracing,
    Simulated,
    SimulationBody,
    TableFormat,
)
from serving.control.transformer_mapping import Mapped, mapped
from serving.openapi.operation import Operation, described
from serving.refusals import BadRequestError
from serving.transformer.definition import TransformerDefinition
from serving.transformer.lookups import Snapshots
from serving.transformer.simulation import PlainColumns, Simulation, simulate
from serving.transformer.transformer import Transformer
from yarnmill.errors import ConfigurationError
from yarnmill.records import convert, to_plain

_Kind = Literal["create_table_op", "feast_op", "table_transform_op"]
_KINDS: Final[dict[str, _Kind]] = {
    "inputs": "create_table_op",
    "lookups": "feast_op",
    "transformations": "table_transform_op",
}


def add_simulation(pages: Blueprint, snapshots: Snapshots) -> None:
    """Add the address that simulates."""

    @pages.post("/standard_transformer/simulate")
    @described(Operation(answer=Simulated, body=SimulationBody, refusals=(400,), role="reader"))
    def simulated() -> Response:
        """Say what a transformer makes of a request, step by step."""
        body = read_body(SimulationBody)
        found = _mapped(body)
        try:
            transformer = Transformer(found.definition, None, snapshots, source="config")
        except ConfigurationError as problem:
            raise BadRequestError(problem.what, expected=problem.expected, mend=problem.mend) from None
        simulation = simulate(transformer, body.payload)
        request = _request(found, simulation)
        mock = None if body.model_prediction_config is None else body.model_prediction_config.mock_response
        response = request if mock is None or mock.body is None else mock.body
        tracing = OperationTracing(preprocess=_traced(found.definition, simulation, request), postprocess=[])
        encoded = msgspec.json.encode(Simulated(response=response, operation_tracing=tracing))
        return Response(encoded, mimetype="application/json")


def _mapped(body: SimulationBody) -> Mapped:
    if "transformerConfig" in body.config:
        return mapped(body.config, body.payload)
    definition = convert(body.config, TransformerDefinition, source="config", error=BadRequestError)
    return Mapped(definition, {}, ())


def _request(found: Mapped, simulation: Simulation) -> dict[str, Any]:
    """Return what the model would be asked: as Merlin's template says, or with an object a row."""
    if not found.outputs:
        return {"instances": _rows(simulation.asked, list(simulation.asked), simulation.rows)}
    return {
        one.field_name: _formatted(one.from_table, found.tables[one.from_table.table_name], simulation)
        for one in found.outputs
    }


def _formatted(table: TableFormat, columns: list[str], simulation: Simulation) -> Any:  # noqa: ANN401  # JSON
    rows = _rows(simulation.asked, columns, simulation.rows)
    if table.format == "RECORD":
        return rows
    values = [list(row.values()) for row in rows]
    return values if table.format == "VALUES" else {"columns": columns, "data": values}


def _rows(asked: PlainColumns, columns: list[str], rows: int) -> list[dict[str, Any]]:
    return [{name: asked[name][row] for name in columns} for row in range(rows)]


def _traced(
    definition: TransformerDefinition, simulation: Simulation, request: dict[str, Any]
) -> list[PipelineTracing]:
    plain = to_plain(definition)
    specs = [{"inputs": plain["inputs"]}, *plain["lookups"], *plain["transformations"]]
    traced = [
        PipelineTracing(operation_type=_KINDS[step.part], spec=spec, output=dict(step.columns))
        for step, spec in zip(simulation.steps, specs, strict=True)
    ]
    return [
        *traced,
        PipelineTracing(operation_type="json_output_op", spec={"outputs": plain["outputs"]}, output=request),
    ]
