"""What has to be looked at to understand a TonY command line: its files, the source folder, folders on HDFS."""

import datetime as dt
import getpass
import hashlib
import os
import secrets
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tony_py.application import Application
from tony_py.loading import anchored
from tony_py.tonyconf import commands
from tony_py.tonyconf.documents import parse_document
from tony_py.tonyconf.mapping import Translation, translate
from tony_py.tonyconf.options import Options
from tony_py.tonyconf.settings import Ignored, Property, Settings, layered
from yarnmill import fs
from yarnmill.building import user_cache
from yarnmill.errors import ConfigurationError, NotFoundError

_DEFAULT_FILE: Final = "tony.xml"
_SITE_FILE: Final = "tony-site.xml"


def load_tony_application(conf_file: str, conf: Sequence[str], options: Options, *, runs: str) -> Translation:
    """Return the application that TonY's command line means, local paths made absolute.

    Parameters
    ----------
    conf_file
        Path or URL of the configuration; empty takes ``tony.xml`` in the current folder if it is there.
    conf
        ``key=value`` texts over it.
    options
        The rest of the command line.
    runs
        URL of the folder for the application's output.

    Raises
    ------
    YarnMillError
        If a file is not there, or something in them cannot be meant.
    """
    options = _with_executes_in_source(options)
    overrides = [*conf]
    if options.executes:
        overrides.append(f"tony.containers.command={commands.from_options(options)}")
    if options.sidecar_tensorboard_log_dir:
        overrides.append(f"tony.application.tensorboard-log-dir={options.sidecar_tensorboard_log_dir}")
    values, kept_out = layered(_files(conf_file, os.environ), overrides)
    moment = f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    settings = Settings(values, os.environ, _java_properties())
    translation = translate(settings, options, runs=runs, moment=moment, source=source_paths(options.src_dir))
    application, missing = with_folders(translation.application, options)
    return Translation(
        application=anchored(application, Path.cwd()), ignored=(*kept_out, *translation.ignored, *missing)
    )


def read_conf_file(path: str) -> list[Property]:
    """Return the properties of a local file, or of a URL."""
    if not fs.exists(path):
        raise NotFoundError(f"{path}: no such configuration file", mend="correct --conf_file")
    return parse_document(fs.read_bytes(path), path)


def source_paths(src_dir: str) -> tuple[str, ...]:
    """Return the files and folders in ``src_dir``, a folder or an archive of one; none if it is empty.

    Raises
    ------
    NotFoundError
        If it is not there.
    ConfigurationError
        If it is a file, but no archive.
    """
    if not src_dir:
        return ()
    folder = Path(src_dir)
    if not folder.exists():
        raise NotFoundError(f"{src_dir}: no such folder", mend="correct --src_dir")
    if folder.is_file():
        folder = _unpacked(folder)
    return tuple(str(path.absolute()) for path in sorted(folder.iterdir()))


def with_folders(application: Application, options: Options) -> tuple[Application, list[Ignored]]:
    """Return the application with folders among its resources made into what YARN can localise.

    A folder on HDFS becomes its files, not those of folders in it, as with TonY; a local one becomes an
    archive. What ``--hdfs_classpath`` names may be missing.
    """
    missing: list[Ignored] = []

    def laid_out(files: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, url in files.items():
            if url in options.classpath_urls and not fs.exists(url):
                missing.append(Ignored(key="--hdfs_classpath", reason=f"{url} is not there"))
            else:
                found |= _laid_out(name, url)
        return found

    return msgspec.structs.replace(
        application,
        files=laid_out(application.files),
        types={
            name: msgspec.structs.replace(kind, files=laid_out(kind.files)) for name, kind in application.types.items()
        },
    ), missing


def _laid_out(name: str, url: str) -> dict[str, str]:
    if name.endswith("/"):
        return {name: url}
    if url.startswith(("hdfs:/", "file:/")):
        folder = fs.exists(url) and fs.info(url).is_folder
        return {each.name: each.url for each in fs.children(url) if not each.is_folder} if folder else {name: url}
    return {f"{name}/" if Path(url).is_dir() else name: url}


def _with_executes_in_source(options: Options) -> Options:
    """Return the options with ``executes`` relative to ``src_dir``, where it is a path from here into that folder."""
    program, *rest = options.executes.split(" ", 1)
    folder = Path(options.src_dir)
    is_inside = not program.startswith("/") and (folder / program).is_file()
    if not program or not options.src_dir or is_inside or not Path(program).is_file():
        return options
    try:
        inside = Path(program).resolve().relative_to(folder.resolve())
    except ValueError:  # elsewhere: perhaps on all nodes
        return options
    return msgspec.structs.replace(options, executes=" ".join([str(inside), *rest]))


def _files(conf_file: str, environ: Mapping[str, str]) -> list[list[Property]]:
    """Return the properties of the user's file and of the site's, in this order, as TonY reads them."""
    named = conf_file or (_DEFAULT_FILE if Path(_DEFAULT_FILE).is_file() else "")
    found = [read_conf_file(named)] if named else []
    site = Path(environ.get("TONY_CONF_DIR", "")) / _SITE_FILE
    if environ.get("TONY_CONF_DIR") and site.is_file():
        found.append(read_conf_file(str(site)))
    return found


def _java_properties() -> dict[str, str]:
    return {
        "user.name": getpass.getuser(),
        "user.home": str(Path.home()),
        "user.dir": str(Path.cwd()),
        "java.io.tmpdir": tempfile.gettempdir(),
    }


def _unpacked(archive: Path) -> Path:
    """Return the folder in the user cache that holds an archive's content."""
    folder = user_cache() / "unpacked" / hashlib.sha256(archive.read_bytes()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.tmp")
    fresh.mkdir(parents=True)
    try:
        _unpack(archive, fresh)
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():  # or another process was quicker
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                mode = member.external_attr >> 16 & 0o777
                path = Path(source.extract(member, folder))
                if mode and path.is_file():
                    path.chmod(mode | 0o600)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as source:
            source.extractall(folder, filter="data")
    else:
        raise ConfigurationError(
            f"{archive}: neither a folder nor an archive", expected="--src_dir with a folder, a zip or a tar file"
        )
