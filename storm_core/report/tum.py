"""TUM trajectories, as evo and others read them: `stamp tx ty tz qx qy qz qw`, one line per pose, increasing stamps."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.bags.true_poses import Instances
from storm_core.types import ObjectOutput

Stamped = tuple[int, NDArray[np.float64]]
_HEAD = "# cam_from_obj: stamp[s] tx ty tz [m] qx qy qz qw"


def write_tum(file: Path, items: Iterable[ObjectOutput]) -> None:
    """The trusted poses cam_from_obj of one object: stamp [s], position [m], quaternion xyzw."""
    _write(file, [(i.stamp_ns, i.cam_from_obj) for i in items if i.trusted and i.cam_from_obj is not None])


def write_truth_tum(file: Path, items: Sequence[ObjectOutput], truths: Sequence[Instances]) -> None:
    """The true poses of one object under the stamps of the frames; frames with a coarse or no truth are left out.

    Of several instances it is the one whose centre is nearest to the trusted pose; without one the frame is left out.
    """
    poses: list[Stamped] = []
    for item, instances in zip(items, truths, strict=True):
        found = [i.cam_from_obj for i in instances or () if i.good]
        if len(found) > 1:
            found = [] if item.cam_from_obj is None or not item.trusted else [min(
                found, key=lambda pose, at=item.cam_from_obj: float(np.linalg.norm(pose[:3, 3] - at[:3, 3])))]
        poses += [(item.stamp_ns, pose) for pose in found]
    _write(file, poses)


def _write(file: Path, poses: Iterable[Stamped]) -> None:
    lines = [_HEAD]
    for stamp_ns, pose in poses:
        sec, nanosec = divmod(stamp_ns, 10**9)
        quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat()
        numbers = " ".join(f"{v:.9f}" for v in (*pose[:3, 3], *quaternion))
        lines.append(f"{sec}.{nanosec:09d} {numbers}")
    file.write_text("\n".join(lines) + "\n")
