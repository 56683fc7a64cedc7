"""TUM trajectories: `stamp tx ty tz qx qy qz qw`, one line per pose."""

from collections.abc import Iterable
from pathlib import Path

from scipy.spatial.transform import Rotation

from storm_core.types import ObjectOutput


def write_tum(file: Path, items: Iterable[ObjectOutput]) -> None:
    """The trusted poses cam_from_obj of one object: stamp [s], position [m], quaternion xyzw."""
    lines = ["# cam_from_obj: stamp[s] tx ty tz [m] qx qy qz qw"]
    for item in items:
        if item.trusted and item.cam_from_obj is not None:
            sec, nanosec = divmod(item.stamp_ns, 10**9)
            quaternion = Rotation.from_matrix(item.cam_from_obj[:3, :3]).as_quat()
            numbers = " ".join(f"{v:.9f}" for v in (*item.cam_from_obj[:3, 3], *quaternion))
            lines.append(f"{sec}.{nanosec:09d} {numbers}")
    file.write_text("\n".join(lines) + "\n")
