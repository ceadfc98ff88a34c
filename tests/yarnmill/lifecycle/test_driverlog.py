"""What a driver wrote, where there is no YARN to ask; with one: `tests/serving/control/test_predicting_on_yarn.py`."""

import pytest

from yarnmill.errors import ClusterUnavailableError
from yarnmill.lifecycle.driverlog import driver_log


def test_a_machine_without_yarn_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterUnavailableError, match="`yarn` is not on PATH"):
        driver_log("application_1_0001")
