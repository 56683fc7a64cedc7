"""Every instance of an object in one frame, from localizers that tell instances apart and from those that do not."""

from typing import Protocol, runtime_checkable

from storm_core.interfaces import Localizer
from storm_core.types import Frame, Hint, Localization, NotFound


@runtime_checkable
class FindsAll(Protocol):
    """A localizer that finds every instance."""

    def localize_all(self, frame: Frame, object_name: str, hint: Hint) -> list[Localization] | NotFound: ...


def localize_all(localizer: Localizer, frame: Frame, object_name: str, hint: Hint) -> list[Localization] | NotFound:
    """All instances, most certain first; the best one alone where the localizer knows no others."""
    if isinstance(localizer, FindsAll):
        return localizer.localize_all(frame, object_name, hint)
    found = localizer.localize(frame, object_name, hint)
    return found if isinstance(found, NotFound) else [found]
