"""Two feature tables, and what compiles a transformer over them."""

from collections.abc import Callable
from typing import Any

import pytest
from snapshots import CLIENTS, GOODS, opened_snapshot

from serving.refusals import ModelUnavailableError
from serving.transformer.definition import parse_transformer
from serving.transformer.lookups import Snapshot
from serving.transformer.transformer import Transformed, Transformer
from yarnmill.bundle.manifest import Field, Signature

Made = Callable[..., Transformer]


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Snapshot]:
    clients = opened_snapshot(
        tmp_path_factory.mktemp("clients"),
        "shop.clients",
        ("client", "string"),
        [("spent", "float64", -1.0), ("words", "bag", None)],
        CLIENTS,
    )
    goods = opened_snapshot(
        tmp_path_factory.mktemp("goods"),
        "shop.goods",
        ("goods", "int64"),
        [("price", "float64", None), ("odd", "float64", 0.0)],
        GOODS,
    )
    return {"shop.clients": Snapshot("shop.clients", 3, clients), "shop.goods": Snapshot("shop.goods", 7, goods)}


@pytest.fixture(scope="session")
def made(snapshots: dict[str, Snapshot]) -> Made:
    """Return what compiles YAML for a model that takes some fields (none: for no model)."""

    def look(table: str) -> Snapshot:
        if table not in snapshots:
            raise ModelUnavailableError(f"features {table}: no snapshot is deployed here")
        return snapshots[table]

    def compiled(text: str, *fields: Field, now_s: float = 0.0) -> Transformer:
        signature = Signature(inputs=fields, outputs=()) if fields else None
        return Transformer(parse_transformer(text, source="t.yaml"), signature, look, lambda: now_s, source="t.yaml")

    return compiled


@pytest.fixture(scope="session")
def asked(made: Made) -> Callable[..., Transformed]:
    """Return what compiles YAML and has it work on one document."""

    def ask(text: str, document: dict[str, Any], *fields: Field, now_s: float = 0.0) -> Transformed:
        return made(text, *fields, now_s=now_s)(document)

    return ask
