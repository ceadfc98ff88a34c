"""How long a type may go on after a group of others has ended: TonY's cure for evaluators that never end."""

from collections.abc import Mapping

import msgspec

from tony_py.application import TaskType
from tony_py.tonyconf.keys import find
from tony_py.tonyconf.settings import Settings

_DEPENDENCY = "tony.application.dependency.<type>.timeout.after.<group>"


def with_lingering(settings: Settings, types: Mapping[str, TaskType]) -> dict[str, TaskType]:
    """Return the types, with ``linger`` where the configuration limits how long one stays alone.

    Raises
    ------
    ConfigurationError
        If a group is unknown, or does not hold all the others that the application waits for.
    """
    found = dict(types)
    for entry in settings.entries:
        known = find(entry.name)
        if known is None or known.key.name != _DEPENDENCY or known.type not in found:
            continue
        group = entry.name.rpartition(".after.")[2]
        _refuse_other_group(settings, entry.name, group, known.type, types)
        may_fail = settings.flag(f"{entry.name}.ignored")
        kind = found[known.type]
        found[known.type] = msgspec.structs.replace(
            kind, linger=settings.seconds(entry.name, 1.0), role="sidecar" if may_fail else kind.role
        )
    return found


def _refuse_other_group(settings: Settings, key: str, group: str, waiting: str, types: Mapping[str, TaskType]) -> None:
    group_key = f"tony.application.group.{group}"
    if group_key not in settings:
        raise settings.wrong(key, expected=f"{group_key}, which is not set")
    others = {name for name, kind in types.items() if kind.is_tracked and name != waiting}
    if not others <= set(settings.names(group_key)):
        raise settings.wrong(
            group_key,
            expected=f"all types that the application waits for beside {waiting}: {', '.join(sorted(others))}",
            mend="a part of the group alone cannot be waited for: name all, or set types.<type>.timeout",
        )
