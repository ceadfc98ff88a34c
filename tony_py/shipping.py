"""What an application names, as YARN is to localise it: files, secrets, and the environment with its upload.

Local files travel with the application, sent by Skein. An environment is too large for that: it is uploaded
once, under a name that says its content, where every later application finds it and YARN has cached it.
"""

import re
from pathlib import Path
from typing import Final, Literal

from tony_py.application import Environment
from tony_py.layout import is_reserved
from tony_py.plan import Upload
from tony_py.skeinspec import SkeinFile, Visibility
from yarnmill import fs
from yarnmill.archives import keep, source_entries, zip_bytes
from yarnmill.digests import file_digest, remembered_digest
from yarnmill.errors import ConfigurationError, NotFoundError
from yarnmill.permissions import is_on_default_hdfs, is_public
from yarnmill.records import Record
from yarnmill.relocation import environment_members
from yarnmill.report import identity_of
from yarnmill.tarballs import content_digest, signature
from yarnmill.units import render_bytes
from yarnmill.unpackable import ARCHIVE_SUFFIXES, is_archive, refuse_without_python

_URL: Final = re.compile(r"^[a-z][a-z0-9+.-]+://")
_NAME: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.+=@-]*$")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
# Skein takes these for the end of a path.
_NOT_SHIPPED: Final = re.compile(r"[#?;]")
_FOLDER_LIMIT_BYTES: Final = 256 << 20


class Shipped(Record, frozen=True, kw_only=True):
    """A file as YARN localises it, what tells its content from another, and the upload that it needs."""

    file: SkeinFile
    identity: str
    upload: Upload | None = None


def ship_environment(environment: Environment, root: str) -> Shipped | None:
    """Return the archive of an environment, or None if it has none.

    Parameters
    ----------
    environment
        As resolved.
    root
        URL of the folder that local ones are uploaded to.

    Raises
    ------
    NotFoundError
        If it is not there.
    ConfigurationError
        If YARN cannot unpack it or it holds no Python.
    """
    key, text = "environment.archive", environment.archive
    if not text:
        return None
    path = _local(text)
    if path is None:
        if not (is_archive(text) or text.endswith(".pex")):
            raise _unknown_kind(key, text)
        return _remote(key, text, "FILE" if text.endswith(".pex") else "ARCHIVE")
    if path.is_dir():
        members = environment_members(path)
        digest = remembered_digest(path, signature(members), lambda: content_digest(members))
        upload = Upload(
            key=key,
            kind="environment",
            source=str(path),
            target=_target(root, digest, f"{path.name}.tar.gz"),
            digest=digest,
        )
        return _uploaded(upload)
    if not path.is_file():
        raise NotFoundError(f"{key}: {path}: no such archive or folder")
    if is_archive(path.name):
        refuse_without_python(path, environment.binary)
    elif path.suffix != ".pex":
        raise _unknown_kind(key, str(path))
    digest = file_digest(path)
    target = _target(root, digest, path.name)
    return _uploaded(Upload(key=key, kind="file", source=str(path), target=target, digest=digest))


def ship_files(files: dict[str, str], key: str) -> dict[str, Shipped]:
    """Return what ``files`` names, by its name in the container: archives without their slash.

    Raises
    ------
    NotFoundError
        If one is not there.
    ConfigurationError
        If a name cannot stand in a container's folder, or YARN cannot unpack an archive.
    """
    found: dict[str, Shipped] = {}
    for name, text in files.items():
        plain = name.removesuffix("/")
        _refuse_name(plain, f"{key}.{name}")
        if plain in found:
            raise ConfigurationError(f"{key}.{name}: named twice, with and without /")
        found[plain] = _ship_file(text, f"{key}.{name}", is_unpacked=name.endswith("/"))
    return found


def check_secrets(secrets: dict[str, str]) -> dict[str, str]:
    """Return the local paths of ``secrets``; nothing reads what is in them.

    Raises
    ------
    NotFoundError
        If one is not there.
    ConfigurationError
        If a name cannot be a file's.
    """
    for name, text in secrets.items():
        key, path = f"secrets.{name}", _local(text)
        if not _NAME.match(name):
            raise ConfigurationError(f"{key}: {name!r} is no name of a file", expected="letters, digits, . _ -")
        if path is None:
            raise ConfigurationError(f"{key}: {text} is not on this machine", expected="the path of a local file")
        if not path.is_file():
            raise NotFoundError(f"{key}: {path}: no such file")
        _refuse_path(key, str(path))
    return {name: str(_local(text)) for name, text in secrets.items()}


def _ship_file(text: str, key: str, *, is_unpacked: bool) -> Shipped:
    path = _local(text)
    if is_unpacked and (path is None or not path.is_dir()) and not is_archive(text):
        raise _unknown_kind(key, text)
    kind: Literal["FILE", "ARCHIVE"] = "ARCHIVE" if is_unpacked else "FILE"
    if path is None:
        return _remote(key, text, kind)
    if path.is_dir():
        if not is_unpacked:
            raise ConfigurationError(
                f"{key}: {path} is a folder", expected="a file", mend=f"write {key}/ to have it as a folder"
            )
        return _packed_folder(path, key)
    if not path.is_file():
        raise NotFoundError(f"{key}: {path}: no such file")
    _refuse_path(key, str(path))
    return Shipped(file=SkeinFile(source=f"file://{path}", type=kind), identity=file_digest(path))


def _packed_folder(path: Path, key: str) -> Shipped:
    """Return a folder of moderate size as an archive whose top is what the folder holds."""
    inside = len(path.name) + 1
    entries = [
        entry.__class__(name=entry.name[inside:], data=entry.data, is_executable=entry.is_executable)
        for entry in source_entries([path])
    ]
    size = sum(len(entry.data) for entry in entries)
    if size > _FOLDER_LIMIT_BYTES:
        raise ConfigurationError(
            f"{key}: {render_bytes(size)} to ship with every container",
            expected=f"at most {render_bytes(_FOLDER_LIMIT_BYTES)}",
            mend="put it on HDFS as an archive and name that",
        )
    archive = keep(zip_bytes(entries), f"{_safe(path.name)}.zip")
    return Shipped(file=SkeinFile(source=f"file://{archive.path}", type="ARCHIVE"), identity=archive.sha256)


def _remote(key: str, url: str, kind: Literal["FILE", "ARCHIVE"]) -> Shipped:
    _refuse_path(key, url)
    if not url.startswith("hdfs:"):
        return Shipped(file=SkeinFile(source=url, type=kind), identity=url)  # some other file system that Hadoop knows
    if not fs.exists(url):
        raise NotFoundError(f"{key}: {url}: no such file")
    return Shipped(file=SkeinFile(source=url, type=kind, visibility=_visibility(url)), identity=identity_of(url))


def _uploaded(upload: Upload) -> Shipped:
    kind: Literal["FILE", "ARCHIVE"] = "FILE" if upload.target.endswith(".pex") else "ARCHIVE"
    file = SkeinFile(source=upload.target, type=kind, visibility=_visibility(upload.target))
    return Shipped(file=file, identity=upload.digest, upload=upload)


def _visibility(url: str) -> Visibility:
    """Return for how long and for whom a node keeps the file: as widely as its permissions allow.

    What lies on another file system is copied by Skein for each application, so there is nothing to keep.
    """
    if not is_on_default_hdfs(url):
        return "APPLICATION"
    return "PUBLIC" if is_public(url) else "PRIVATE"


def _local(text: str) -> Path | None:
    """Return the path of what is on this machine, or None for a URL of elsewhere."""
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    return None if _URL.match(text) else Path(text)


def _target(root: str, digest: str, name: str) -> str:
    return fs.join(root, f"{digest}-{_safe(name)}")


def _safe(name: str) -> str:
    return _NOT_IN_A_NAME.sub("-", name)


def _refuse_name(name: str, key: str) -> None:
    if not _NAME.match(name):
        raise ConfigurationError(
            f"{key}: {name!r} cannot stand in a container's folder",
            expected="one name of letters, digits and . _ - + = @, without folders",
        )
    if is_reserved(name):
        raise ConfigurationError(f"{key}: every container has a {name} of its own", mend="choose another name")


def _refuse_path(key: str, path: str) -> None:
    if _NOT_SHIPPED.search(path):
        raise ConfigurationError(
            f"{key}: {path} cannot be shipped", expected="a path without `#`, `?` and `;`", mend="rename it"
        )


def _unknown_kind(key: str, text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{key}: {text} is nothing that YARN unpacks",
        expected=f"a name that ends in {', '.join(ARCHIVE_SUFFIXES)}",
        mend="pack it anew: tar -C FOLDER -czf NAME.tar.gz .",
    )
