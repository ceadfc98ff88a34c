"""The guide's Python, run from the first block to the last in one namespace, as a reader would."""

import re
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_the_guide_s_model_is_fitted_as_it_says(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (repository / "docs" / "glmix.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    namespace: dict[str, Any] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"docs/glmix.md, block {number + 1}", "exec"), namespace)  # noqa: S102  # our own guide
    shown = capsys.readouterr().out
    assert "movieId" in shown
    assert "report.html" in shown
    assert namespace["model"].fitted_.record.training.converged
