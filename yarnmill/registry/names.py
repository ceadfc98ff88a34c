"""What may name things in the registry."""

import re
from typing import Final

from yarnmill.errors import ConfigurationError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_VERSION_NAME: Final = re.compile(rf"({_NAME.pattern})/([1-9][0-9]{{0,8}})")
_LABEL_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,99}")
_LONGEST_LABEL: Final = 500


def parse_name(text: str, what: str) -> str:
    """Return ``text`` if it can name ``what`` (such as ``a model``); ConfigurationError if not."""
    if not _NAME.fullmatch(text):
        raise ConfigurationError(
            f"{text!r} cannot name {what}",
            expected="letters, digits, `_`, `-` and `.`, at most 100, a letter or digit first",
        )
    return text


def parse_model_name(text: str) -> str:
    """Return ``text`` if it can name a model; ConfigurationError if not."""
    return parse_name(text, "a model")


def parse_version_name(text: str) -> tuple[str, int]:
    """Return model and number of ``model/version``; ConfigurationError if it is none."""
    match = _VERSION_NAME.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} names no version", expected="model/version, such as rater/3")
    return match[1], int(match[2])


def check_labels(labels: dict[str, str]) -> None:
    """Refuse labels that cannot be kept or searched: ConfigurationError."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            raise ConfigurationError(
                f"{key!r} cannot be a label's key", expected="letters, digits, `_`, `-`, `.` and `/`, at most 100"
            )
        if len(value) > _LONGEST_LABEL or "\0" in value:
            raise ConfigurationError(f"label {key}: {len(value)} characters", expected=f"{_LONGEST_LABEL} at most")
