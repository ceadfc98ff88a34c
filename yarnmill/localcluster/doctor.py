"""Measuring this machine for the checks of `yarnmill doctor`: nothing is changed, nothing is started."""

import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from yarnmill.building import user_cache
from yarnmill.config import Config
from yarnmill.localcluster import checks, ports
from yarnmill.localcluster.distribution import is_fetched, jars_folder
from yarnmill.localcluster.inspection import inspect
from yarnmill.localcluster.java import installed_javas
from yarnmill.localcluster.layout import Layout

_CGROUP: Final = Path("/sys/fs/cgroup")


def examine(config: Config, environment: Mapping[str, str]) -> list[checks.Check]:
    """Return every check of this machine, for this configuration and environment."""
    state = inspect(Layout.of_home(config.home_path))
    fetched = is_fetched()
    path = environment.get("PATH", os.defpath)
    training = Path(config.training_python)
    home, cache = config.home_path, user_cache()
    return [
        checks.check_platform(platform.system(), platform.machine()),
        checks.check_python(sys.version_info[:3]),
        checks.check_java(installed_javas(environment)),
        checks.check_maven(shutil.which("mvn", path=path), jars_are_there=fetched),
        checks.check_program("make", shutil.which("make", path=path), mend="apt-get install make", needed=False),
        checks.check_cores(len(os.sched_getaffinity(0))),
        checks.check_memory(available_memory_mib(), cluster_runs=state.state != "down"),
        checks.check_disk("home", home, free_mib(home), least_mib=checks.HOME_LEAST_MIB),
        checks.check_disk("cache", cache, free_mib(cache), least_mib=checks.CACHE_LEAST_MIB),
        checks.check_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        checks.check_localhost(addresses_of("localhost")),
        checks.check_port(config.serving.port, is_free=ports.is_free(config.serving.port)),
        checks.check_jars(jars_folder(), are_there=fetched),
        checks.check_training(training, is_there=training.is_file()),
        checks.check_cluster(state.root, state.state),
    ]


def is_sound(found: list[checks.Check]) -> bool:
    """Return whether everything that is needed is there."""
    return all(check.ok for check in found if check.needed)


def free_mib(folder: Path) -> int:
    """Return the free space of the disk that holds ``folder``, or will hold it."""
    standing = next(each for each in (folder, *folder.parents) if each.exists())
    return shutil.disk_usage(standing).free // 2**20


def available_memory_mib() -> int:
    """Return the memory that programs may still take: the machine's, or less where a control group limits it."""
    available = parse_available_mib(Path("/proc/meminfo").read_text())
    with suppress(OSError, ValueError):  # no control group, or no limit ("max")
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        available = min(available, max(0, limit - used) // 2**20)
    return available


def parse_available_mib(meminfo: str) -> int:
    """Return MemAvailable of ``/proc/meminfo`` in MiB, 0 if it is not named."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    return 0


def addresses_of(host: str) -> list[str]:
    """Return the addresses that a host name resolves to; none if it does not."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None)})
    except OSError:
        return []
