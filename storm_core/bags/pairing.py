"""Colour and depth images that belong together, by when they were taken."""

from collections.abc import Sequence

import numpy as np

SLOP_NS = 20_000_000
"""Largest stamp difference of a colour and a depth image that belong together [ns]."""


def pair_by_stamp(color: Sequence[int], depth: Sequence[int]) -> list[tuple[int, int]]:
    """Index pairs (colour, depth) of nearest stamps [ns] within the slop, each image used once, in the order of time.

    An image without partner is left out.
    """
    order = np.argsort(depth, kind="stable")
    sorted_depth = np.asarray(depth, np.int64)[order]
    pairs, used = [], set()
    for i in np.argsort(color, kind="stable"):
        at = int(np.searchsorted(sorted_depth, color[i]))
        near = [j for j in (at - 1, at) if 0 <= j < len(depth) and j not in used]
        best = min(near, key=lambda j: abs(int(sorted_depth[j]) - color[i]), default=None)
        if best is not None and abs(int(sorted_depth[best]) - color[i]) <= SLOP_NS:
            used.add(best)
            pairs.append((int(i), int(order[best])))
    # A stamp seen twice is one picture sent twice.
    return [p for k, p in enumerate(pairs) if k == 0 or color[p[0]] > color[pairs[k - 1][0]]]
