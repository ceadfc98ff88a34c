"""Where everything of one local cluster stands below its home folder."""

import os
import pwd
import re
from pathlib import Path
from typing import Final

import msgspec

from yarnmill.errors import ConfigurationError

_SAFE: Final = re.compile(r"[A-Za-z0-9_./+~=@-]+")


def owner() -> str:
    """Return the user as Java sees him: by the process's owner, whatever LOGNAME says."""
    return pwd.getpwuid(os.getuid()).pw_name


class Layout(msgspec.Struct, frozen=True):
    """Paths of the cluster below ``root``, the folder ``<home>/cluster``."""

    root: Path

    @classmethod
    def of_home(cls, home: Path) -> "Layout":
        """Return the layout of the cluster in ``home``.

        Raises
        ------
        ConfigurationError
            If the path has a character that Hadoop's lists of folders or class paths cannot hold.
        """
        root = home.expanduser().resolve() / "cluster"
        if not _SAFE.fullmatch(str(root)):
            raise ConfigurationError(
                f"home {str(home)!r} cannot hold a cluster",
                expected="a path of letters, digits and _ . / + ~ = @ -, because Hadoop separates paths by the others",
                mend="yarnmill cluster up --home <another folder>",
            )
        return cls(root)

    @property
    def conf(self) -> Path:
        """Configuration for clients and for all daemons but the NodeManagers: HADOOP_CONF_DIR."""
        return self.root / "conf"

    def daemon_conf(self, daemon: str) -> Path:
        """Return the folder of the settings that distinguish one NodeManager from the next."""
        return self.root / "conf-of" / daemon

    @property
    def bin(self) -> Path:
        """The commands hadoop, hdfs, yarn and mapred."""
        return self.root / "bin"

    @property
    def namenode(self) -> Path:
        """HDFS's names."""
        return self.root / "namenode"

    @property
    def datanode(self) -> Path:
        """HDFS's blocks."""
        return self.root / "datanode"

    @property
    def tmp(self) -> Path:
        """The daemons' own temp folder."""
        return self.root / "tmp"

    @property
    def webapps(self) -> Path:
        """Class path folder with the empty web applications that HDFS's daemons insist on."""
        return self.root / "classpath"

    @property
    def logs(self) -> Path:
        """One .log (log4j) and one .out (standard output and error) a daemon."""
        return self.root / "logs"

    def log(self, daemon: str) -> Path:
        """Return the log4j file of a daemon."""
        return self.logs / f"{daemon}.log"

    def out(self, daemon: str) -> Path:
        """Return the file of what a daemon's JVM prints."""
        return self.logs / f"{daemon}.out"

    @property
    def kerberos(self) -> Path:
        """What a secured cluster keeps of its realm: readable by the owner alone."""
        return self.root / "kerberos"

    @property
    def krb5_conf(self) -> Path:
        """Where clients and daemons find the realm: KRB5_CONFIG."""
        return self.kerberos / "krb5.conf"

    @property
    def kdc_conf(self) -> Path:
        """The KDC's own settings: KRB5_KDC_PROFILE."""
        return self.kerberos / "kdc.conf"

    @property
    def keytabs(self) -> Path:
        """Keys of services and users."""
        return self.kerberos / "keytabs"

    def keytab(self, name: str) -> Path:
        """Return the keytab of a service or of a user."""
        return self.keytabs / f"{name}.keytab"

    @property
    def tickets_folder(self) -> Path:
        """Ticket caches."""
        return self.kerberos / "tickets"

    def tickets(self, user: str) -> Path:
        """Return the ticket cache of a user."""
        return self.tickets_folder / user

    @property
    def launch_file(self) -> Path:
        """The record of the last start: settings, ports, Java, jars."""
        return self.root / "launch.json"

    @property
    def ports_file(self) -> Path:
        """The ports, remembered so that a restart keeps its addresses."""
        return self.root / "ports"

    @property
    def lock_file(self) -> Path:
        """Held by the one `up` or `down` that runs."""
        return self.root / "lock"
