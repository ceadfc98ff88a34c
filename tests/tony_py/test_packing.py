from collections.abc import Callable
from pathlib import Path

import pytest

from tony_py.application import Application, TaskType
from tony_py.packing import prepare
from tony_py.plan import Launch
from yarnmill.records import parse_json


def test_the_order_of_types_is_kept_on_the_way_to_the_driver(
    application: Callable[..., Application], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kinds = {name: TaskType(command="true") for name in ("worker", "ps", "chief")}
    _, shipment = prepare(application(types=kinds))
    launch = parse_json(Path(shipment.launch).read_bytes(), Launch, source="launch")
    assert list(launch.application.types) == ["worker", "ps", "chief"]  # ranks count in this order
