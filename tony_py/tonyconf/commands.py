"""What bash is given where TonY did something around the user's command."""

import re
import shlex
from collections.abc import Mapping
from typing import Final

from tony_py.tonyconf.options import Options

VENV: Final = "venv"
"""Where in each working folder ``--python_venv`` is found."""

_LINK_VENV: Final = f"ln -sfn ../environment {VENV}"

# Programs that read HDFS through libhdfs need the jars by name; one JVM a task, as with TonY.
_CLASSPATH: Final = (
    '[ -v SKIP_HADOOP_PATH ] || export CLASSPATH="$(PATH="$PATH:$HADOOP_HDFS_HOME/bin:$HADOOP_HOME/bin" '
    'hadoop classpath --glob 2> /dev/null || echo "$CLASSPATH")"'
)

# The first line with the words carries the parameters to the tasks; JSON's three special characters are escaped.
_AFTER_PREPROCESS: Final = r"""status=${PIPESTATUS[0]}
parameters=$(sed -n 's/Model parameters: /\n/;T;s/^[^\n]*\n//p;q' preprocess.out | sed 's/[\\"]/\\&/g;s/\t/\\t/g')
[ -z "$parameters" ] || printf '{"model_params": "%s"}\n' "$parameters" > "$TONY_PARAMETERS_FILE"
exit $status"""


def literal(text: str) -> str:
    """Return text in which ``${`` is not a parameter of the application."""
    return text.replace("${", "$${")


def from_options(options: Options) -> str:
    """Return the command that ``--executes`` stands for; empty if it was not given."""
    if not options.executes:
        return ""
    return " ".join(part for part in (interpreter(options), options.executes, options.task_params) if part)


def has_python(options: Options) -> bool:
    """Return whether ``--python_venv`` is known to hold the Python, so that it is the application's environment."""
    return bool(options.python_venv and options.python_binary_path and not options.python_binary_path.startswith("/"))


def interpreter(options: Options) -> str:
    """Return the Python that the command line names, as a command in the working folder; empty if it names none."""
    return f"{VENV}/{options.python_binary_path}" if has_python(options) else options.python_binary_path


def for_task(command: str, container_env: Mapping[str, str], options: Options, *, home: bool = False) -> str:
    """Return the command of a task, with what YARN would have expanded in the container's environment."""
    lines = [_exported(name, value) for name, value in container_env.items() if "$" in value]
    if home:  # the container's user may have none to write to
        lines.append('export HOME="$PWD"')
    return literal("\n".join([*lines, *_before(command, options), command]))


def for_preprocess(command: str, env: Mapping[str, str], options: Options) -> str:
    """Return the command that the driver runs before it asks for containers."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    lines = [*exports, 'export PREPROCESSING_JOB=true HOME="$PWD"', *_before(command, options)]
    return literal("\n".join([*lines, "{", command, "} | tee preprocess.out", _AFTER_PREPROCESS]))


def for_tensorboard(python: str) -> str:
    """Return the command of the sidecar that shows ``$TB_LOG_DIR``."""
    return f'{python or "python"} -m tensorboard.main --logdir "$TB_LOG_DIR" --host 0.0.0.0 --port "$TB_PORT"'


def _before(command: str, options: Options) -> list[str]:
    venv = [_LINK_VENV] if has_python(options) else []
    return [*venv, _CLASSPATH, *_made_executable(command)]


def _made_executable(command: str) -> list[str]:
    """Return the line that makes the program executable: archives lose that, and TonY made it so as well."""
    program = command.split(maxsplit=1)[0]
    is_file = re.fullmatch(r"[A-Za-z0-9_.-]+[/.][A-Za-z0-9_./-]*", program) is not None
    return [f"chmod -f +x {program}"] if is_file else []


def _exported(name: str, value: str) -> str:
    text = re.sub(r'["`\\]', lambda match: f"\\{match[0]}", value)
    return f'export {name}="{text}"'
