"""Make a bundle of a local folder, and check that a folder still is the bundle it says it is."""

import datetime as dt
import hashlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from yarnmill import fs
from yarnmill.bundle.example import require_example
from yarnmill.bundle.manifest import (
    MANIFEST_NAME,
    BundleFile,
    Comparison,
    Flavour,
    Lineage,
    Manifest,
    Signature,
    manifest_bytes,
    parse_manifest,
)
from yarnmill.errors import BadDataError, ConflictError, NotFoundError


def pack(  # noqa: PLR0913  # the manifest's fields, each by name
    folder: Path,
    *,
    flavour: Flavour,
    signature: Signature,
    lineage: Lineage,
    metrics: dict[str, float],
    environment: dict[str, str],
    created_at: dt.datetime,
    comparisons: tuple[Comparison, ...] = (),
) -> Manifest:
    """Write ``bundle.json`` over all files of ``folder`` and return it. The same arguments give the same bytes.

    Parameters
    ----------
    folder
        Holds the model's files, in sub-folders or not, and its ``example.json``.
    flavour, signature, lineage, metrics, environment, created_at, comparisons
        As the manifest keeps them.

    Raises
    ------
    BadDataError
        If the folder is empty, holds a link or a special file, has no example, or the signature names no input or
        output.
    ConflictError
        If the folder holds another ``bundle.json`` already.
    """
    _check_signature(signature)
    paths = list(_content(folder))
    if not paths:
        raise BadDataError(f"{folder}: no file to pack", expected="the files of a model")
    require_example(folder, signature)
    manifest = Manifest(
        flavour=flavour,
        signature=signature,
        files=tuple(_describe(folder, path) for path in paths),
        lineage=lineage,
        metrics=metrics,
        environment=environment,
        created_at=created_at,
        comparisons=comparisons,
    )
    _write_manifest(folder, manifest_bytes(manifest))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a bundle's folder; NotFoundError if it holds no ``bundle.json``."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise NotFoundError(
            f"{folder}: no {MANIFEST_NAME}", expected="the folder of a bundle", mend="yarnmill bundle pack"
        )
    return parse_manifest(path.read_bytes(), source=str(path))


def verify_bundle(folder: Path) -> Manifest:
    """Read every byte of a bundle and return its manifest.

    Raises
    ------
    BadDataError
        If a file is missing, changed or not in the manifest: every such file is named.
    """
    manifest = read_manifest(folder)
    listed = {file.path: file for file in manifest.files}
    present = {path.relative_to(folder).as_posix() for path in _content(folder)}
    problems = [f"{name} is missing" for name in sorted(listed.keys() - present)]
    problems += [f"{name} is not in the manifest" for name in sorted(present - listed.keys())]
    for name in sorted(listed.keys() & present):
        seen = _describe(folder, folder / name)
        if seen != listed[name]:
            problems.append(f"{name} has the SHA-256 {seen.sha256} instead of {listed[name].sha256}")
    if problems:
        raise BadDataError(f"{folder}: not the bundle it was: {'; '.join(problems)}", mend="fetch the bundle again")
    return manifest


def has_all_files(folder: Path, manifest: Manifest, *, without: Collection[str] = ()) -> bool:
    """Return whether every file but some is there in its size: the quick look before a fetched bundle is used again."""
    return all(
        (folder / file.path).is_file() and (folder / file.path).stat().st_size == file.size_bytes
        for file in manifest.files
        if file.path not in without
    )


def _check_signature(signature: Signature) -> None:
    for fields, kind in ((signature.inputs, "input"), (signature.outputs, "output")):
        names = [field.name for field in fields]
        if not names:
            raise BadDataError(f"the signature has no {kind}", expected="a signature with every input and output")
        if len(set(names)) < len(names):
            raise BadDataError(f"the signature names an {kind} twice: {', '.join(names)}", expected="each name once")


def _content(folder: Path) -> Iterator[Path]:
    """Yield the regular files below ``folder``, the manifest left out, ordered by their path in the bundle."""
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder")
    found = []
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BadDataError(
                    f"{path}: a link or a special file", expected="regular files only: a bundle stands alone"
                )
        found += [Path(parent, name) for name in names]
    yield from sorted((path for path in found if path != folder / MANIFEST_NAME), key=Path.as_posix)


def _describe(folder: Path, path: Path) -> BundleFile:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return BundleFile(path=path.relative_to(folder).as_posix(), size_bytes=path.stat().st_size, sha256=digest)


def _write_manifest(folder: Path, data: bytes) -> None:
    path = folder / MANIFEST_NAME
    if not path.exists():
        fs.write_bytes(path, data)
    elif path.read_bytes() != data:
        raise ConflictError(
            f"{path}: already there and different", mend="pack a folder of its own, without bundle.json"
        )
