"""Names of objects as parts of file names: a name comes from models_info.json and may hold anything."""

import re
from collections.abc import Iterable

_UNSAFE = re.compile(r'[/\\:*?"<>|\x00-\x1f]|^\.')
"""What a path would take for a folder, a hidden file or a drive, and what some file system refuses."""


def file_stems(object_names: Iterable[str]) -> dict[str, str]:
    """{object name: its own part of a file name}: the name itself wherever it can be one; no two are the same.

    `master/chef` -> `master_chef`, and `master_chef_2` where that is another object.
    """
    names = list(dict.fromkeys(object_names))
    out = {name: name for name in names if name and not _UNSAFE.search(name)}
    taken = set(out.values())
    for name in names:
        if name in out:
            continue
        safe = stem = _UNSAFE.sub("_", name) or "_"
        number = 1
        while stem in taken:
            number += 1
            stem = f"{safe}_{number}"
        out[name] = stem
        taken.add(stem)
    return out
