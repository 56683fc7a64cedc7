"""Builds the message packages that PyPI lacks into the running installation; `python -m storm_ros.interfaces`."""

import importlib.util

PACKAGES = ("tf2_msgs", "vision_msgs")
"""Message packages defined in `definitions/`, in build order."""


def missing(packages: tuple[str, ...] = PACKAGES) -> tuple[str, ...]:
    """The packages that this Python cannot import."""
    return tuple(name for name in packages if importlib.util.find_spec(name) is None)
