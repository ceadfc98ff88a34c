"""TonY's command line as a value."""

from tony_py.tonyconf.settings import parse_variable
from yarnmill.records import Record


class Options(Record, frozen=True, kw_only=True):
    """What stands on the command line beside ``--conf_file`` and ``--conf``; empty is not given.

    Parameters
    ----------
    executes, task_params
        The command of every task that the configuration gives none, and what is put behind it.
    src_dir
        Folder, or archive of one, whose content stands in each working folder.
    python_venv
        Archive that is unpacked into ``venv`` there.
    python_binary_path
        The Python that runs ``executes``: within ``python_venv``, or on the nodes.
    shell_env, container_env
        ``NAME=value`` texts.
    hdfs_classpath
        Files, or folders of files, on HDFS, separated by commas.
    sidecar_tensorboard_log_dir
        What a TensorBoard beside the tasks shows.
    """

    executes: str = ""
    task_params: str = ""
    src_dir: str = ""
    python_venv: str = ""
    python_binary_path: str = ""
    shell_env: tuple[str, ...] = ()
    container_env: tuple[str, ...] = ()
    hdfs_classpath: str = ""
    sidecar_tensorboard_log_dir: str = ""

    @property
    def shell_variables(self) -> dict[str, str]:
        """The variables of ``shell_env``."""
        return dict(parse_variable(text, "--shell_env") for text in self.shell_env)

    @property
    def container_variables(self) -> dict[str, str]:
        """The variables of ``container_env``."""
        return dict(parse_variable(text, "--container_env") for text in self.container_env)

    @property
    def classpath_urls(self) -> tuple[str, ...]:
        """The URLs of ``hdfs_classpath``: a path without a scheme is one on HDFS."""
        urls = filter(None, (each.strip() for each in self.hdfs_classpath.split(",")))
        return tuple(url.rstrip("/") if ":/" in url else f"hdfs://{url.rstrip('/')}" for url in urls)
