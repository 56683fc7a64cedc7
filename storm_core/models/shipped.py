"""Where the weights that come with STORM lie."""

import os
import sys
from pathlib import Path


def shipped_file(name: str) -> Path:
    """A file of models/: beside the sources, or in share/storm_ros of an installation; the first place if nowhere."""
    sources = Path(__file__).resolve().parents[2] / "models" / name
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [sys.prefix]
    places = [sources, *(Path(p) / "share" / "storm_ros" / "models" / name for p in prefixes)]
    return next((place for place in places if place.is_file()), sources)
