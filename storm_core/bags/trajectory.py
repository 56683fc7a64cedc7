"""Poses over time: read from TUM files, looked up at the stamps of a recording."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.errors import DatasetError
from storm_core.geometry.pose import from_rotation_translation, so3_exp, so3_log

STAMP_TOLERANCE_NS = 5_000_000
"""Largest difference of a pose's stamp and the frame it is taken for without interpolation [ns]."""
GAP_NS = 25_000_000
"""Poses further apart than this are not interpolated: between frames of a camera the motion is not known [ns]."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """stamps_ns: (N,) int64, increasing. poses: (N, 4, 4) [m]."""

    stamps_ns: NDArray[np.int64]
    poses: NDArray[np.float64]

    @classmethod
    def of(cls, poses: Mapping[int, NDArray[np.float64]]) -> "Trajectory":
        """From {stamp_ns: pose}, in any order."""
        stamps = sorted(poses)
        return cls(np.array(stamps, np.int64), np.array([poses[s] for s in stamps]).reshape(-1, 4, 4))

    def at(self, stamps_ns: Sequence[int], *, gap_ns: int = GAP_NS,
           tolerance_ns: int = STAMP_TOLERANCE_NS) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Poses (M, 4, 4) at these stamps, and where they are known (M,).

        Between two stamps at most `gap_ns` apart the position is interpolated linearly, the rotation along the
        shortest arc (slerp); elsewhere the nearest pose is taken if it is at most `tolerance_ns` away.
        """
        at = np.asarray(stamps_ns, np.int64)
        if not len(self.stamps_ns):
            return np.tile(np.eye(4), (len(at), 1, 1)), np.zeros(len(at), bool)
        last = len(self.stamps_ns) - 1
        after = np.clip(np.searchsorted(self.stamps_ns, at), 0, last)
        before = np.clip(after - 1, 0, last)
        gap, since = self.stamps_ns[after] - self.stamps_ns[before], at - self.stamps_ns[before]
        between = (since >= 0) & (since <= gap) & (gap > 0) & (gap <= gap_ns)
        nearest = np.where(np.abs(self.stamps_ns[after] - at) <= np.abs(since), after, before)
        exact = self.stamps_ns[nearest] == at
        near = np.abs(self.stamps_ns[nearest] - at) <= tolerance_ns
        share = np.where(between, since / np.maximum(gap, 1), 0.0)
        mixed = between & ~exact
        out = self.poses[nearest].copy()
        out[mixed] = interpolate(self.poses[before[mixed]], self.poses[after[mixed]], share[mixed])
        return out, exact | near | between


def interpolate(first: NDArray[np.float64], second: NDArray[np.float64],
                share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) at `share` (N,) in [0, 1] of the way from the first to the second (N, 4, 4)."""
    turn = so3_log(np.swapaxes(first[:, :3, :3], -1, -2) @ second[:, :3, :3])
    position = first[:, :3, 3] + share[:, None] * (second[:, :3, 3] - first[:, :3, 3])
    return from_rotation_translation(first[:, :3, :3] @ so3_exp(share[:, None] * turn), position)


def read_tum(file: Path) -> dict[int, NDArray[np.float64]]:
    """{stamp_ns: pose (4, 4)} of a TUM trajectory (stamp [s], position [m], quaternion xyzw).

    Raises:
      DatasetError: the file cannot be read, or an entry is no pose (names it).
    """
    try:
        rows = [line.split() for line in file.read_text().splitlines() if line.strip() and line.strip()[0] != "#"]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read TUM trajectory {file}: {error}") from error
    out: dict[int, NDArray[np.float64]] = {}
    for number, row in enumerate(rows, 1):
        try:
            numbers = [float(v) for v in row[1:]]
            tx, ty, tz, qx, qy, qz, qw = numbers
            if not np.isfinite(numbers).all():
                raise ValueError(f"not finite: {' '.join(row)}")
            # Decimal: a float of today's epoch seconds is only exact to some hundred ns.
            rotation = Rotation.from_quat([qx, qy, qz, qw]).as_matrix()
            out[round(Decimal(row[0]) * 10**9)] = from_rotation_translation(rotation, [tx, ty, tz])
        except (ValueError, ArithmeticError) as error:
            raise DatasetError(f"{file} entry {number} is not TUM (stamp tx ty tz qx qy qz qw): {error}") from error
    return out
