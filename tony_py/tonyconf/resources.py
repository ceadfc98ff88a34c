"""Resources of containers, as TonY writes them: ``path::name#archive``."""

from typing import Final

from tony_py.tonyconf.commands import literal
from tony_py.tonyconf.settings import Settings
from yarnmill.errors import ConfigurationError

_ARCHIVE: Final = "#archive"


def parse_resources(settings: Settings, key: str) -> dict[str, str]:
    """Return the files of a key: name in the working folder (an archive's ends in ``/``), and URL or path.

    Raises
    ------
    ConfigurationError
        If one cannot be meant, or two have one name.
    """
    files: dict[str, str] = {}
    for text in settings.names(key):
        name, url = parse_resource(text, f"{settings.source(key)}: {key}")
        if files.get(name, url) != url:
            raise ConfigurationError(f"{settings.source(key)}: {key}: two resources have the name {name}")
        files[name] = literal(url)
    return files


def parse_resource(text: str, source: str) -> tuple[str, str]:
    """Return name and URL of ``path::name#archive``, of which only the path is needed."""
    path, *names = text.replace(_ARCHIVE, "").split("::")
    last = path.rstrip("/").rpartition("/")[2]
    if len(names) > 1 or not last or (names and not names[0]):
        raise ConfigurationError(f"{source}: {text} cannot be meant", expected="path::name#archive, or path alone")
    name = names[0] if names else last
    return (f"{name}/" if _ARCHIVE in text else name), path
