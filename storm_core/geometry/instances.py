"""Several objects of one mesh: `cup#2` is a second cup, with a track, a state and an id of its own."""

import re

_NUMBERED = re.compile(r"(?P<mesh>.+)#(?:[2-9]|[1-9][0-9]+)")


def mesh_name(object_name: str) -> str:
    """`cup` of `cup`, `cup#2`, `cup#3`: what the mesh is called, and the class of the object."""
    numbered = _NUMBERED.fullmatch(object_name)
    return numbered["mesh"] if numbered else object_name
