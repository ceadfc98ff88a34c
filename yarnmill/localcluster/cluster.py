"""A local cluster as a whole: bring it up, take it down, ask how it is.

Nothing here is remembered in the object: what runs is read from the machine, so any number of
processes may look at, start and stop the same cluster.
"""

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from yarnmill.config import ClusterSettings
from yarnmill.errors import ClusterUnavailableError, ConfigurationError, ConflictError, NotFoundError
from yarnmill.localcluster import distribution, logs, namespace, ports, processes, realm, templates
from yarnmill.localcluster.daemons import (
    Daemon,
    Launch,
    command_line,
    daemon_environment,
    daemons_of,
    port_names,
)
from yarnmill.localcluster.inspection import datanode_has_registered, inspect, load_launch
from yarnmill.localcluster.java import find_java
from yarnmill.localcluster.layout import Layout, owner
from yarnmill.localcluster.state import ClusterState, DaemonState, Lack, lacking
from yarnmill.records import canonical_json
from yarnmill.units import render_seconds

__all__ = ["ClusterState", "LocalCluster", "Progress", "silent"]

Progress = Callable[[str], None]
_POLL_S: Final = 0.2
_STOP_GRACE_S: Final = 8.0
_KDC_START_S: Final = 20.0
_ABORT_GRACE_S: Final = 2.0
"""Daemons that are still starting hold the locks that their own orderly end waits for."""
_APPLICATION: Final = re.compile(r"application_\d+_\d+")


def silent(_text: str) -> None:
    """Show no progress."""


def _still_running(spawned: Mapping[str, int]) -> list[int]:
    return [pid for pid in spawned.values() if processes.is_running(pid)]


class LocalCluster:
    """The Hadoop cluster in a home folder.

    Parameters
    ----------
    home
        Home folder; the cluster stands in ``<home>/cluster``.
    settings
        Shape for the next start. A cluster that runs keeps the shape it was started with.
    environment
        Where Java and Maven are looked for; the process's own by default.
    """

    def __init__(self, home: Path, settings: ClusterSettings, environment: Mapping[str, str] | None = None) -> None:
        self.layout = Layout.of_home(home)
        self.settings = settings
        self._environment = dict(os.environ if environment is None else environment)

    # -- asking -------------------------------------------------------------------------------------------------

    def status(self) -> ClusterState:
        """Return how the cluster is, in well under a second."""
        return inspect(self.layout)

    def running_state(self) -> ClusterState:
        """Return :meth:`status` of a cluster that runs.

        Raises
        ------
        ClusterUnavailableError
            If it does not, with the command that starts it.
        """
        state = self.status()
        if state.state == "down":
            raise ClusterUnavailableError(
                f"the cluster in {self.layout.root.parent} is not up", mend=self._command("cluster up")
            )
        return state

    def application_log(self, application_id: str) -> str:
        """Return the logs of all containers of a finished application, as ``yarn logs`` prints them."""
        if not _APPLICATION.fullmatch(application_id):
            raise ConfigurationError(
                f"{application_id!r} is no application id", expected="application_<number>_<number>"
            )
        program = str(self.layout.bin / "yarn")
        command = [program, "logs", "-applicationId", application_id]
        variables = {**self._environment, **self.running_state().environment()}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotFoundError(f"no logs of {application_id}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _command(self, command: str) -> str:
        return f"yarnmill {command} --home {self.layout.root.parent}"

    # -- starting -----------------------------------------------------------------------------------------------

    def up(self, progress: Progress = silent) -> ClusterState:
        """Start whatever does not run and wait until all of it serves; nothing happens if it does already.

        Raises
        ------
        ConfigurationError
            If Java 17 or Maven is missing.
        ConflictError
            If daemons run here that another version started.
        ClusterUnavailableError
            If a daemon ends or the cluster does not serve in time, with the cause from its log. What
            this call started is stopped again, also after Ctrl-C.
        """
        with self._locked(progress):
            launch = self._decide(progress)
            running = {process.name for process in processes.find_daemons(self.layout)}
            missing = [daemon for daemon in daemons_of(launch.settings) if daemon.name not in running]
            if not missing and (state := self.status()).state == "up":
                progress(f"the cluster in {self.layout.root.parent} is up already")
                return state
            started_at = time.monotonic()
            spawned: dict[str, int] = {}
            try:
                state = self._start(missing, launch, spawned, progress)
            except BaseException:
                progress("stopping what was started")
                processes.stop(lambda: _still_running(spawned), grace_s=_ABORT_GRACE_S)
                raise
            progress(f"the cluster is up after {render_seconds(time.monotonic() - started_at)}")
            return state

    def _decide(self, progress: Progress) -> Launch:
        """Return what to start from: the record of the running cluster, or a fresh decision."""
        if processes.find_daemons(self.layout):
            recorded = load_launch(self.layout)
            if recorded is None:
                raise ConflictError(
                    f"daemons of {self.layout.root} run that this version did not start",
                    mend=self._command("cluster down"),
                )
            if recorded.settings != self.settings:
                progress("the running cluster keeps the shape it was started with")
            return recorded
        java = find_java(self._environment)
        jars = distribution.fetch(self._environment, progress)
        names = port_names(daemons_of(self.settings))
        chosen = ports.choose(names, ports.load(self.layout.ports_file), seed=str(self.layout.root))
        kdc = realm.find_program("krb5kdc", self._environment) if self.settings.secure else ""
        launch = Launch(settings=self.settings, ports=chosen, java_home=java.home, jars=str(jars), kdc=kdc)
        self._prepare(launch)
        return launch

    def _prepare(self, launch: Launch) -> None:
        """Write settings, programs and the record of the start."""
        layout = self.layout
        for folder in (layout.logs, layout.tmp, *(layout.webapps / "webapps" / name for name in ("hdfs", "datanode"))):
            folder.mkdir(parents=True, exist_ok=True)
        templates.write_all(templates.render_all(layout, launch, owner()))
        ports.save(layout.ports_file, launch.ports)
        fresh = layout.launch_file.with_suffix(".tmp")
        fresh.write_bytes(canonical_json(launch))
        fresh.replace(layout.launch_file)

    def _start(
        self, missing: list[Daemon], launch: Launch, spawned: dict[str, int], progress: Progress
    ) -> ClusterState:
        """Start what is missing, noting each pid in ``spawned`` at once, and wait until all of it serves."""
        offsets = {
            daemon.name: (logs.size_of(self.layout.log(daemon.name)), logs.size_of(self.layout.out(daemon.name)))
            for daemon in daemons_of(launch.settings)
        }
        namespace.set_remains_aside(self.layout, progress)
        if launch.settings.secure:
            missing = self._start_kdc(missing, launch, spawned)
        # The NameNode comes last: formatting the first time takes a JVM's start, and the others wait for it.
        for daemon in sorted(missing, key=lambda each: each.name == "namenode"):
            if daemon.name == "namenode":
                namespace.format_if_new(self.layout, launch, self._environment, progress)
            spawned[daemon.name] = self._spawn(daemon, launch)
        if missing:
            progress(f"started {', '.join(daemon.name for daemon in missing)}")
        state = self._wait(launch, spawned, offsets, progress)
        if launch.settings.secure:
            with realm.acting_as(realm.HDFS_ADMIN, self.layout):
                namespace.make_folders(state.hdfs_url, owner(), is_admin=True)
            realm.fetch_ticket(self.layout, owner(), self._environment)
        else:
            namespace.make_folders(state.hdfs_url, owner())
        return state

    def _start_kdc(self, missing: list[Daemon], launch: Launch, spawned: dict[str, int]) -> list[Daemon]:
        """Start the KDC and wait until it listens: everybody else begins by asking it. Return who is still missing."""
        realm.make_principals(self.layout, owner(), self._environment)
        kdc = next((daemon for daemon in missing if daemon.name == realm.KDC), None)
        if kdc is None:
            return missing
        spawned[kdc.name] = pid = self._spawn(kdc, launch)
        port = launch.ports[f"{realm.KDC}-rpc"]
        deadline = time.monotonic() + _KDC_START_S
        while ports.is_free(port):
            if not processes.is_running(pid) or time.monotonic() > deadline:
                cause = self.layout.out(realm.KDC).read_text(errors="replace").strip()[-300:]
                raise ClusterUnavailableError(f"the KDC did not start: {cause}", mend=self._command("cluster logs kdc"))
            time.sleep(_POLL_S)
        return [daemon for daemon in missing if daemon is not kdc]

    def fetch_ticket(self, user: str, *, cache: Path | None = None, lifetime_s: int = 0) -> Path:
        """Fetch a fresh ticket for a user of the secured cluster, who is made if he is new; return its file.

        Raises
        ------
        ConfigurationError
            If the cluster has no Kerberos, or no user can have this name.
        """
        state = self.running_state()
        if not state.secure:
            raise ConfigurationError(
                f"the cluster in {self.layout.root.parent} has no Kerberos",
                mend=f"{self._command('cluster down')}, then {self._command('cluster up --secure')}",
            )
        user = user or owner()
        if not self.layout.keytab(user).exists():
            realm.make_keytab(self.layout, user, self._environment)
            with realm.acting_as(realm.HDFS_ADMIN, self.layout):
                namespace.make_home(state.hdfs_url, user, is_admin=True)
        return realm.fetch_ticket(self.layout, user, self._environment, cache=cache, lifetime_s=lifetime_s)

    def _spawn(self, daemon: Daemon, launch: Launch) -> int:
        return processes.spawn(
            command_line(daemon, self.layout, launch),
            folder=self.layout.root,
            out=self.layout.out(daemon.name),
            environment=daemon_environment(self.layout, launch, self._environment),
        )

    def _wait(
        self,
        launch: Launch,
        spawned: Mapping[str, int],
        offsets: Mapping[str, tuple[int, int]],
        progress: Progress,
    ) -> ClusterState:
        deadline = time.monotonic() + launch.settings.start_timeout
        told = ""
        while True:
            state = self.status()
            alive = _still_running(spawned)
            dead = [each for each in state.daemons if each.pid is None and spawned.get(each.name) not in alive]
            if dead:
                raise self._failure(dead[0], offsets, "ended while starting")
            lack = lacking(state) or self._lack_of_datanode(state, spawned)
            if lack is None:
                return state
            if lack.what != told:
                progress(f"waiting for {lack.what}")
                told = lack.what
            if time.monotonic() > deadline:
                blamed = next(each for each in state.daemons if each.name == lack.daemon)
                raise self._failure(
                    blamed, offsets, f"did not serve in {render_seconds(launch.settings.start_timeout)}"
                )
            time.sleep(_POLL_S)

    def _lack_of_datanode(self, state: ClusterState, spawned: Mapping[str, int]) -> Lack | None:
        """Return that a DataNode that was started now has yet to register in the place of one that died."""
        if "datanode" not in spawned or datanode_has_registered(state, self.layout):
            return None
        return Lack(what="the DataNode to register", daemon="datanode")

    def _failure(
        self, daemon: DaemonState, offsets: Mapping[str, tuple[int, int]], what: str
    ) -> ClusterUnavailableError:
        log, out = offsets[daemon.name]
        cause = logs.cause_in(logs.read_from(self.layout.log(daemon.name), log))
        cause = cause or logs.cause_in(logs.read_from(self.layout.out(daemon.name), out))
        return ClusterUnavailableError(
            f"the {daemon.name} {what}: {cause or 'its log names no cause'}",
            expected=f"all daemons to serve; the whole log is {daemon.log}",
            mend=f"{self._command('cluster logs')} {daemon.name}, and yarnmill doctor",
        )

    # -- stopping -----------------------------------------------------------------------------------------------

    def down(self, progress: Progress = silent) -> int:
        """Stop everything of this cluster, containers included; return how many processes there were."""
        if not self.layout.root.exists():
            return 0
        with self._locked(progress):
            count = len(self._pids()) + len(self._containers())
            if count:
                progress(f"stopping {count} processes")
            # First the nodes: one whose ResourceManager is gone keeps on trying to take its leave.
            processes.stop(lambda: self._pids("nodemanager-"), grace_s=_STOP_GRACE_S)
            processes.stop(self._pids, grace_s=_STOP_GRACE_S)
            # NodeManagers end their containers; what a killed one left behind is ended here.
            processes.stop(self._containers, grace_s=1.0)
            return count

    def _pids(self, prefix: str = "") -> list[int]:
        return [each.pid for each in processes.find_daemons(self.layout) if each.name.startswith(prefix)]

    def _containers(self) -> list[int]:
        return processes.find_containers(self.layout)

    @contextmanager
    def _locked(self, progress: Progress) -> Iterator[None]:
        """Hold the cluster's lock: two `up` at once would start everything twice. The kernel frees it at any end."""
        self.layout.root.mkdir(parents=True, exist_ok=True)
        with self.layout.lock_file.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another `up` or `down` of this cluster")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
