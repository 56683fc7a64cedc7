"""Which objects the graph looks after: said by the supervisor, taken over by every other node while it runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray

from storm_core.geometry.mesh import ObjectModel
from storm_ros import records


@dataclass(frozen=True, kw_only=True)
class Roster:
    """The objects by name.

    Attributes:
      folder: of their meshes.
      digests: SHA-256 of each object's mesh by name, in their order.
    """

    folder: str
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(self.digests)


def roster_of(folder: str, models: Mapping[str, ObjectModel]) -> Roster:
    return Roster(folder=folder, digests=digests_of(models))


def roster_message(roster: Roster) -> DiagnosticArray:
    values = {"folder": roster.folder, "digests": json.dumps(dict(roster.digests))}
    return DiagnosticArray(status=[records.status("roster", ", ".join(roster.objects), values)])


def read_roster(message: DiagnosticArray) -> Roster:
    """Raises InputError for a message that is not one of ours."""
    with records.naming("roster"):
        values = records.values_of(message.status[0])
        return Roster(folder=values["folder"], digests=dict(json.loads(values["digests"])))


@dataclass(frozen=True)
class RosterChange:
    """What another set of models means for somebody who has one already."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.replaced)


def change(before: Mapping[str, str], after: Mapping[str, str]) -> RosterChange:
    """Args: digests by name."""
    return RosterChange(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        replaced=tuple(name for name in after if name in before and before[name] != after[name]))


def digests_of(models: Mapping[str, ObjectModel]) -> dict[str, str]:
    return {name: model.sha256 for name, model in models.items()}
