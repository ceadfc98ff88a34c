import shlex
from pathlib import Path

import msgspec
import pytest

from jobs.score import Config, ScoredModel
from yarnmill.config import load_config
from yarnmill.errors import ConfigurationError
from yarnmill.sparksubmit import SparkSubmission, plan, render
from yarnmill.sparksubmit.capacity import check_capacity
from yarnmill.sparksubmit.plan import Container
from yarnmill.yarn import NodeCapacity


def planned(**changes: object) -> SparkSubmission:
    config = Config(
        output="hdfs:///o", training_set="hdfs:///t", blobs="hdfs:///b", models=(ScoredModel(name="m", bundle_id="0"),)
    )
    settings = msgspec.structs.replace(load_config().spark, **changes)
    return plan("score", config, settings, python="/opt/py thon", fingerprint="f", run_id="r")


def test_equal_requests_make_equal_plans_whose_files_are_all_there() -> None:
    first = planned()
    assert first == planned()
    command = list(first.command)
    for option in ("--py-files", "--files"):
        assert Path(command[command.index(option) + 1].partition("#")[0]).is_file()
    assert Path(command[0]).is_file()


def test_a_printed_plan_is_shell_that_says_the_same() -> None:
    submission = planned()
    words = shlex.split(render(submission).replace("\\\n", " "))
    assert words == [f"SPARK_SUBMIT_OPTS=$SPARK_SUBMIT_OPTS {submission.java_options}", *submission.command]


def test_containers_are_heap_and_overhead() -> None:
    driver, executor = planned(executors=3, executor_memory=1000, executor_memory_overhead=500).containers
    assert (executor.count, executor.memory_mib) == (3, 1500)
    assert driver.memory_mib > 1024


def test_what_decides_the_run_goes_with_it_and_what_does_not_stays_out() -> None:
    words = list(planned(executors=3, queue="night").command)
    assert words[words.index("--deploy-mode") + 1] == "cluster"
    assert words[words.index("--queue") + 1] == "night"
    assert {"spark.executor.instances=3", "spark.pyspark.python=/opt/py thon", "spark.yarn.tags=yarnmill,r"} <= set(
        words
    )
    entry = next(place for place, word in enumerate(words) if word.endswith("entry.py"))
    assert words[entry + 1 :] == ["score", "--config", "job.json", "--fingerprint", "f", "--run-id", "r"]
    sent = Path(words[words.index("--files") + 1].partition("#")[0])
    assert sent == Path(list(planned(executors=9).command)[words.index("--files") + 1].partition("#")[0])


def test_containers_fit_by_the_largest_first_not_by_the_sum() -> None:
    large = Container(name="executor", count=3, memory_mib=3000, vcores=1)
    check_capacity((large,), [node(6000), node(3000)])
    with pytest.raises(ConfigurationError, match=r"do not fit the cluster of 2 nodes with 10000 MiB") as caught:
        check_capacity((large,), [node(5000), node(5000)])
    assert "spark.executors" in caught.value.mend


def node(memory_mib: int) -> NodeCapacity:
    return NodeCapacity(node="n", memory_mib=memory_mib, vcores=4, gpus=0)


def test_a_request_that_fits_is_let_through_and_a_larger_one_refused() -> None:
    driver = Container(name="driver", count=1, memory_mib=1500, vcores=1)
    executor = Container(name="executor", count=2, memory_mib=2000, vcores=2)
    check_capacity((driver, executor), [node(3500), node(2000)])
    with pytest.raises(ConfigurationError, match="3 containers of 5500 MiB together do not fit"):
        check_capacity((driver, executor), [node(3000), node(2900)])
    with pytest.raises(ConfigurationError, match=r"executor asks for 2000 MiB and the largest node offers 1999"):
        check_capacity((executor,), [node(1999), node(1999)])
    with pytest.raises(ConfigurationError, match="offers 0 MiB"):
        check_capacity((driver,), [])
