"""One pose in a text file: a 4x4 (or 3x4) matrix, or position and quaternion."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.errors import DatasetError, InputError
from storm_core.geometry.pose import from_rotation_translation, require_pose

FORMS = "16 numbers (4x4 by rows), 12 (3x4) or 7 (x y z qx qy qz qw), in metres"


def read_pose(file: Path) -> NDArray[np.float64]:
    """cam_from_obj (4, 4) [m]; numbers are separated by blanks, commas or line breaks, `#` begins a comment.

    Raises:
      DatasetError: the file cannot be read or holds no pose.
    """
    try:
        text = " ".join(line.partition("#")[0] for line in file.read_text().splitlines())
        numbers = np.array([float(word) for word in text.replace(",", " ").split()])
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DatasetError(f"cannot read a pose from {file} ({error}); it must hold {FORMS}") from error
    if numbers.size not in (7, 12, 16):
        raise DatasetError(f"{file} holds {numbers.size} numbers; a pose is {FORMS}")
    try:
        if numbers.size == 7:
            if not 0.99 < np.linalg.norm(numbers[3:]) < 1.01:
                raise InputError(f"quaternion {numbers[3:].tolist()} has not length 1")
            return require_pose(from_rotation_translation(Rotation.from_quat(numbers[3:]).as_matrix(), numbers[:3]))
        pose = np.eye(4)
        pose[:numbers.size // 4] = numbers.reshape(-1, 4)
        return require_pose(pose)
    except InputError as error:
        raise DatasetError(f"{file} holds no pose: {error}") from error
