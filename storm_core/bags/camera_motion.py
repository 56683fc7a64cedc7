"""How the camera moved: from the tf of a bag, or from the camera file of BOP scenes."""

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.folder import scene_folders
from storm_core.bags.recording import Recording
from storm_core.bags.rosbag import BagRecording, open_bag
from storm_core.bags.transforms import read_tree
from storm_core.bop.cameras import MM, SCENE_CAMERA, scene_cameras
from storm_core.errors import DatasetError
from storm_core.geometry.pose import from_rotation_translation, inverse, require_pose


def camera_motion(recording: Recording, world: str) -> NDArray[np.float64]:
    """world_from_cam (N, 4, 4) of every frame [m], nan where it is not known.

    Args:
      world: tf frame of a bag; of a BOP scene there is only one world, which cam_R_w2c and cam_t_w2c describe.

    Raises:
      DatasetError: nothing is known about the motion.
    """
    if isinstance(recording, BagRecording):
        with open_bag(recording.path) as reader:
            poses, known = read_tree(reader).lookup(world, recording.frame_id, recording.stamps_ns)
        return np.where(known[:, None, None], poses, np.nan)
    return _scene_motion(recording)


def _scene_motion(recording: Recording) -> NDArray[np.float64]:
    out = np.full((len(recording), 4, 4), np.nan)
    entries = {}
    for scene in scene_folders(recording.path):
        file = scene / SCENE_CAMERA
        for im_id, entry in (scene_cameras(scene) if file.exists() else {}).items():
            entries[int(scene.name) if scene.name.isdigit() else 0, im_id] = entry, f"{file} [{im_id}]"
    for k, frame in enumerate(recording.ids):
        entry, source = entries.get(frame, ({}, ""))
        if "cam_R_w2c" in entry and "cam_t_w2c" in entry:
            cam_from_world = from_rotation_translation(np.reshape(entry["cam_R_w2c"], (3, 3)),
                                                       np.asarray(entry["cam_t_w2c"], float) * MM)
            out[k] = inverse(require_pose(cam_from_world, source))
    if np.isnan(out).all():
        raise DatasetError(f"{recording.path} does not say how the camera moved: no cam_R_w2c and cam_t_w2c in "
                           "scene_camera.json; remove --world-frame")
    return out
