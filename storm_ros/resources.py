"""Finding the files that ship beside the code: config/, launch/, models/."""

import sys
from pathlib import Path

from storm_core.errors import SetupError


def share_file(relative: str) -> Path:
    """A shipped file, e.g. `config/storm.yaml`, in the source tree or in the installed share/storm_ros.

    Raises:
      SetupError: it is in none of these places.
    """
    places = [Path(__file__).resolve().parent.parent, Path(sys.prefix) / "share" / "storm_ros"]
    places += [parent / "share" / "storm_ros" for parent in Path(__file__).resolve().parents]
    for place in places:
        if (place / relative).is_file():
            return place / relative
    raise SetupError(f"{relative} is not installed (looked in {places[0]} and {places[1]}); reinstall storm")
