"""TonY's own command line beside ours: its options, under its names, with one dash or two as there."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import click

from tony_py.application import Application
from tony_py.loading import load_application, with_overrides
from tony_py.tonyconf.local import load_tony_application
from tony_py.tonyconf.options import Options
from yarnmill.config import Config
from yarnmill.errors import ConfigurationError

_OPTIONS: Final = (
    ("conf_file", {"metavar": "FILE", "help": "TonY's configuration, such as tony.xml."}),
    ("conf", {"multiple": True, "metavar": "KEY=VALUE", "help": "Set one of TonY's keys."}),
    ("src_dir", {"metavar": "DIR", "help": "Folder, or archive, whose content each task finds in its folder."}),
    ("executes", {"metavar": "CMD", "help": "What tasks run that the configuration gives no command."}),
    ("task_params", {"metavar": "ARGS", "help": "Put behind what --executes names."}),
    ("python_venv", {"metavar": "ARCHIVE", "help": "Python environment, unpacked into `venv` in each task's folder."}),
    ("python_binary_path", {"metavar": "PATH", "help": "Python in that environment, or on the nodes."}),
    ("shell_env", {"multiple": True, "metavar": "NAME=VALUE", "help": "A variable of the programs."}),
    ("container_env", {"multiple": True, "metavar": "NAME=VALUE", "help": "A variable of the containers."}),
    ("hdfs_classpath", {"metavar": "URLS", "help": "Files or folders on HDFS that each task finds in its folder."}),
    ("sidecar_tensorboard_log_dir", {"metavar": "URL", "help": "Show this in a TensorBoard beside the tasks."}),
)


class TonyLine(NamedTuple):
    """What was given of TonY's options."""

    conf_file: str
    conf: tuple[str, ...]
    options: Options
    is_given: bool


def tony_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add TonY's options and pass them together as ``tony``."""

    @functools.wraps(function)
    def command(**arguments: Any) -> Any:  # noqa: ANN401  # click's own
        given = {name: arguments.pop(name) for name, _ in _OPTIONS}
        debug = arguments.pop("debug")
        present = {name: value for name, value in given.items() if value}
        conf_file, conf = present.pop("conf_file", ""), present.pop("conf", ())
        line = TonyLine(conf_file, conf, Options(**present), bool(conf_file or conf or present or debug))
        return function(tony=line, **arguments)

    wrapped: Callable[..., Any] = click.option("-debug", "--debug", is_flag=True, hidden=True)(command)
    for name, settings in reversed(_OPTIONS):
        wrapped = click.option(f"-{name}", f"--{name}", name, **settings)(wrapped)
    return wrapped


def load(
    file: str | None, tony: TonyLine, overrides: Sequence[str], config: Config, say: Callable[[str], None]
) -> Application:
    """Return the application of FILE, or of TonY's options.

    What has no effect of TonY's, and where the output goes that its jobs do not name, is said.

    Raises
    ------
    ConfigurationError
        If both were given, or none.
    """
    if file is not None and tony.is_given:
        raise ConfigurationError(f"{file} and TonY's options", expected="one of the two")
    if file is not None:
        return load_application(file, overrides)
    if not tony.is_given:
        raise ConfigurationError("nothing to submit", expected="FILE, or TonY's --conf_file and --executes")
    translation = load_tony_application(tony.conf_file, tony.conf, tony.options, runs=config.storage.runs)
    application = with_overrides(translation.application, overrides)
    if translation.ignored:
        lines = [f"  {ignored.key}: {ignored.reason}" for ignored in translation.ignored]
        say("\n".join(["without effect here:", *lines]))
    say(f"report and history go to {application.output}")
    return application
