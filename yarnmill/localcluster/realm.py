"""The Kerberos realm of a secured cluster: its KDC (MIT's), its principals, their keytabs and tickets.

Keys are made at random and never leave the cluster's folder; passwords there are none.
"""

import os
import re
import secrets
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Final

from yarnmill.errors import ClusterUnavailableError, ConfigurationError
from yarnmill.localcluster.layout import Layout

REALM: Final = "YARNMILL.LOCAL"
KDC: Final = "kdc"
SERVICES: Final = ("nn", "dn", "rm", "nm", "HTTP")
HDFS_ADMIN: Final = "hdfs"
YARN_ADMIN: Final = "yarn"
_SIGNATURE: Final = "web-signature"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_PLACES: Final = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_MEND: Final = "make kerberos, or apt-get install krb5-kdc krb5-admin-server krb5-user"


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """Return the path of one of Kerberos's programs, which stand where a user's PATH often does not lead.

    Raises
    ------
    ConfigurationError
        If it is not installed.
    """
    found = which(name, path=f"{environment.get('PATH', os.defpath)}:{_PLACES}")
    if found is None:
        raise ConfigurationError(f"a secured cluster needs {name}, which is not installed", mend=_MEND)
    return found


def variables(layout: Layout) -> dict[str, str]:
    """Return what tells Kerberos's programs and libraries of this realm and no other."""
    return {"KRB5_CONFIG": str(layout.krb5_conf), "KRB5_KDC_PROFILE": str(layout.kdc_conf)}


def user_variables(layout: Layout, user: str) -> dict[str, str]:
    """Return what makes programs act as a user, as long as his ticket lives."""
    return {
        "KRB5_CONFIG": str(layout.krb5_conf),
        "KRB5CCNAME": f"FILE:{layout.tickets(user)}",
        # Java does not read KRB5_CONFIG; Skein and Spark ask these for options, the cluster's own programs know it.
        "SKEIN_DRIVER_JAVA_OPTIONS": java_option(layout),
        "SPARK_SUBMIT_OPTS": java_option(layout),
    }


def java_option(layout: Layout) -> str:
    """Return the option by which Java finds the realm."""
    return f"-Djava.security.krb5.conf={layout.krb5_conf}"


def kdc_command(program: str, layout: Layout, marks: Iterable[str]) -> list[str]:
    """Return the command that runs the KDC in the foreground; it does not look at what stands behind ``--``."""
    return [program, "-n", "-r", REALM, "-P", str(layout.kerberos / "kdc.pid"), "--", *marks]


def make_principals(layout: Layout, user: str, environment: Mapping[str, str]) -> None:
    """Make the realm's database, and every principal and keytab of the cluster, as far as they are not there."""
    for folder in (layout.kerberos, layout.keytabs, layout.tickets_folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    if not (layout.kerberos / "stash").exists():
        key = secrets.token_hex(32)
        for leftover in layout.kerberos.glob("database*"):
            leftover.unlink()
        _run(["kdb5_util", "create", "-s", "-r", REALM], layout, environment, said=f"{key}\n{key}\n")
    signature = layout.keytabs / _SIGNATURE
    if not signature.exists():
        _write_private(signature, secrets.token_hex(32))
    for name in SERVICES:
        make_keytab(layout, name, environment, host="/localhost")
    for name in (HDFS_ADMIN, YARN_ADMIN, user):
        make_keytab(layout, name, environment)


def make_keytab(layout: Layout, name: str, environment: Mapping[str, str], *, host: str = "") -> None:
    """Make a principal and its keytab, unless the keytab is there.

    Raises
    ------
    ConfigurationError
        If the name cannot be a user's.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot be a user", expected="letters, digits and _ . -")
    keytab = layout.keytab(name)
    if keytab.exists():
        return
    fresh = keytab.with_suffix(".tmp")
    fresh.unlink(missing_ok=True)
    principal = f"{name}{host}"
    commands = f"addprinc -randkey {principal}\nktadd -norandkey -k {fresh} {principal}\n"
    _run(["kadmin.local", "-r", REALM], layout, environment, said=commands)
    if not fresh.exists():
        raise ClusterUnavailableError(f"Kerberos made no keytab of {principal}", mend="yarnmill cluster logs kdc")
    fresh.replace(keytab)


def fetch_ticket(
    layout: Layout, user: str, environment: Mapping[str, str], *, cache: Path | None = None, lifetime_s: int = 0
) -> Path:
    """Fetch a fresh ticket by the user's keytab; return the file that holds it.

    Parameters
    ----------
    cache
        Where to put it; None: where ``yarnmill cluster env`` looks for it.
    lifetime_s
        How long it is to live; 0: as long as the realm allows.
    """
    target = cache or layout.tickets(user)
    command = ["kinit", "-k", "-t", str(layout.keytab(user)), "-c", f"FILE:{target}"]
    command += ["-l", f"{lifetime_s}s"] if lifetime_s else []
    _run([*command, f"{user}@{REALM}"], layout, environment)
    return target


@contextmanager
def acting_as(name: str, layout: Layout) -> Iterator[None]:
    """Let this process's libraries act as a user of the realm, by his keytab and with tickets that nobody else uses."""
    own = {
        **variables(layout),
        "KRB5CCNAME": f"FILE:{layout.tickets(f'.{name}')}",
        "KRB5_CLIENT_KTNAME": f"FILE:{layout.keytab(name)}",
        "HADOOP_CONF_DIR": str(layout.conf),
    }
    before = {variable: os.environ.get(variable) for variable in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def _run(command: list[str], layout: Layout, environment: Mapping[str, str], *, said: str = "") -> None:
    program, *arguments = command
    done = subprocess.run(
        [find_program(program, environment), *arguments],
        env={**environment, **variables(layout)},
        input=said,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterUnavailableError(
            f"{program} failed: {(done.stderr or done.stdout).strip()[-300:]}", mend="yarnmill cluster logs kdc"
        )
