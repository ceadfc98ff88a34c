"""From a workflow's description to ``workflow.xml``: equal descriptions, equal bytes."""

import xml.etree.ElementTree as ET
from typing import Final

from oozie.workflow import ShellStep, SparkStep, Step, Workflow
from photon.spark.session_settings import SESSION_SETTINGS

WORKFLOW_NAMESPACE: Final = "uri:oozie:workflow:1.0"
SPARK_NAMESPACE: Final = "uri:oozie:spark-action:1.0"
SHELL_NAMESPACE: Final = "uri:oozie:shell-action:1.0"

# Hadoop's and Spark's classes reach into the JDK; since Java 17 it has to be opened to them.
_OPENED: Final = (
    "java.lang",
    "java.lang.invoke",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "sun.nio.ch",
    "sun.security.action",
)


def render_workflow(workflow: Workflow) -> str:
    """Return the XML of a workflow, valid against Oozie's schemas."""
    root = ET.Element("workflow-app", {"xmlns": WORKFLOW_NAMESPACE, "name": workflow.name})
    root.append(ET.Comment(f" {workflow.meaning.replace('--', '- -')} "))
    _parameters(root, workflow)
    ET.SubElement(root, "start", {"to": workflow.steps[0].name})
    following = [*(step.name for step in workflow.steps[1:]), "end"]
    for step, ok in zip(workflow.steps, following, strict=True):
        _action(root, workflow, step, ok)
    kill = ET.SubElement(root, "kill", {"name": "fail"})
    _text(kill, "message", "${wf:lastErrorNode()} failed: ${wf:errorMessage(wf:lastErrorNode())}")
    ET.SubElement(root, "end", {"name": "end"})
    ET.indent(root, "  ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _parameters(root: ET.Element, workflow: Workflow) -> None:
    if not workflow.parameters:  # the schema has no empty list of them
        return
    holder = ET.SubElement(root, "parameters")
    for parameter in workflow.parameters:
        entry = ET.SubElement(holder, "property")
        _text(entry, "name", parameter.name)
        if parameter.default is not None:
            _text(entry, "value", parameter.default)
        _text(entry, "description", parameter.meaning)


def _action(root: ET.Element, workflow: Workflow, step: Step, ok: str) -> None:
    action = ET.SubElement(root, "action", {"name": step.name})
    if isinstance(step, SparkStep):
        _spark(action, workflow, step)
    else:
        _shell(action, workflow, step)
    ET.SubElement(action, "ok", {"to": ok})
    ET.SubElement(action, "error", {"to": "fail"})


def _spark(action: ET.Element, workflow: Workflow, step: SparkStep) -> None:
    spark = ET.SubElement(action, "spark", {"xmlns": SPARK_NAMESPACE})
    _cluster(spark, workflow)
    _text(spark, "master", "yarn")
    _text(spark, "mode", "cluster")
    _text(spark, "name", f"yarnmill {step.job}")
    _text(spark, "jar", "${code}/entry.py")
    _text(spark, "spark-opts", _spark_options(workflow))
    _texts(spark, "arg", [step.job, "--config", step.config])
    for key, value in step.set.items():
        _texts(spark, "arg", ["--set", f"{key}={value}"])


def _spark_options(workflow: Workflow) -> str:
    asked = workflow.spark
    options = ["--queue ${queue}", "--py-files ${code}/yarnmill.zip"]
    settings = {
        "spark.driver.memory": f"{asked.driver_memory}m",
        "spark.executor.instances": asked.executors,
        "spark.executor.cores": asked.executor_cores,
        "spark.executor.memory": f"{asked.executor_memory}m",
        "spark.executor.memoryOverhead": f"{asked.executor_memory_overhead}m",
        "spark.pyspark.python": "${python}",
        "spark.yarn.appMasterEnv.PYSPARK_PYTHON": "${python}",
        "spark.yarn.maxAppAttempts": 1,
        **SESSION_SETTINGS,
    }
    return " ".join([*options, *(f"--conf {key}={value}" for key, value in settings.items())])


def _shell(action: ET.Element, workflow: Workflow, step: ShellStep) -> None:
    shell = ET.SubElement(action, "shell", {"xmlns": SHELL_NAMESPACE})
    _cluster(shell, workflow)
    _text(shell, "exec", step.command[0])
    _texts(shell, "argument", step.command[1:])
    _text(shell, "env-var", "HADOOP_CONF_DIR=${hadoopConfDir}")
    if step.capture:
        ET.SubElement(shell, "capture-output")


def _cluster(action: ET.Element, workflow: Workflow) -> None:
    _text(action, "resource-manager", "${resourceManager}")
    _text(action, "name-node", "${nameNode}")
    launcher = ET.SubElement(action, "launcher")
    memory_mib = workflow.launcher.memory
    _text(launcher, "memory.mb", str(int(memory_mib)))
    _text(launcher, "vcores", str(workflow.launcher.vcores))
    # A third of the container is left to what a JVM needs beside its heap.
    opened = " ".join(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED)
    _text(launcher, "java-opts", f"-Xmx{memory_mib * 2 // 3}m {opened}")
    _text(launcher, "env", "HADOOP_CONF_DIR=${hadoopConfDir}")
    _text(launcher, "queue", "${queue}")


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text


def _texts(parent: ET.Element, tag: str, texts: tuple[str, ...] | list[str]) -> None:
    for text in texts:
        _text(parent, tag, text)


def render_properties(workflow: Workflow) -> str:
    """Return a ``job.properties`` to fill in: every parameter, its meaning and its default."""
    lines = [f"# {workflow.name}: {workflow.meaning}", "oozie.use.system.libpath=true"]
    for parameter in workflow.parameters:
        lines += ["", f"# {parameter.meaning}", f"{parameter.name}={parameter.default or ''}"]
    return "\n".join(lines) + "\n"
