"""Simulated recordings on disk: a BOP dataset, a rosbag2 (mcap) with ground-truth topics, or both from one rendering.

The annotations (scene_gt, scene_gt_info, scene_camera) are written in either case; lengths in mm as BOP has them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.bags.write import BagWriter
from storm_core.simulation.objects import bop_id, write_models
from storm_core.simulation.recording import ObjectTruth, SimulatedFrame, SimulatedRecording

SCENE = Path("test") / "000001"
BAG = "bag"
DEPTH_SCALE = 0.1
"""mm per count of the depth images, as in most BOP datasets; bags carry whole mm."""

# Trying every filter on every row, PNG's habit, takes longer than rendering and saves nothing on noise.
_NOISY = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
_FLAT = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)

Progress = Callable[[Iterable[SimulatedFrame]], Iterable[SimulatedFrame]]
"""Wraps the frames to show how far they are."""


def write_simulation(out: Path, recording: SimulatedRecording, *, images: bool, bag: bool,
                     progress: Progress = iter) -> None:
    """Render the recording and write it.

    Args:
      out: an existing folder; gets models/, test/000001/ and, with `bag`, bag/.
      images: write rgb, depth and mask_visib of the BOP scene.
      bag: write a rosbag2 with /ground_truth/<object> topics.
    """
    write_models(out / "models", list(recording.models.values()))
    with ExitStack() as stack:
        writer = stack.enter_context(BagWriter(out / BAG, compress=False)) if bag else None
        write_scene(out / SCENE, progress(recording), {name: bop_id(name) for name in recording.models}, images=images,
                    bag=writer)


def write_scene(scene: Path, frames: Iterable[SimulatedFrame], ids: Mapping[str, int], *, images: bool,
                bag: BagWriter | None = None, whole_masks: bool = False) -> dict[str, list[float]]:
    """Write one BOP scene folder, and the same frames and truth into an open bag.

    Args:
      scene: the folder to make. ids: label -> BOP id.
      images: write rgb, depth and mask_visib; with `whole_masks` also mask, the silhouettes without occlusion.

    Returns:
      label -> visible share of its silhouette in every frame that it is in.
    """
    scene.mkdir(parents=True)
    parts = ("rgb", "depth", "mask_visib", *(("mask",) if whole_masks else ())) if images else ()
    for part in parts:
        (scene / part).mkdir()
    poses: dict[str, list[dict[str, Any]]] = {}
    infos: dict[str, list[dict[str, Any]]] = {}
    cameras: dict[str, dict[str, Any]] = {}
    visible: dict[str, list[float]] = {}
    for simulated in frames:
        key, frame = str(simulated.index), simulated.frame
        # As in BOP an object that lies wholly outside the picture still has a pose; its visible share is 0.
        poses[key] = [_pose(ids[label], truth.cam_from_obj) for label, truth in simulated.truth.items()]
        infos[key] = [_info(truth) for truth in simulated.truth.values()]
        cameras[key] = {"cam_K": frame.camera.matrix.reshape(9).tolist(), "depth_scale": DEPTH_SCALE}
        for label, truth in simulated.truth.items():
            visible.setdefault(label, []).append(truth.visib_fract)
        if images:
            _write_images(scene, simulated, whole_masks)
        if bag is not None:
            bag.frame(frame)
            for label, truth in simulated.truth.items():
                bag.truth(label, frame.stamp_ns, truth.cam_from_obj, frame.frame_id)
    for name, content in (("scene_gt", poses), ("scene_gt_info", infos), ("scene_camera", cameras)):
        (scene / f"{name}.json").write_text(json.dumps(content))
    return visible


def _pose(obj_id: int, cam_from_obj: NDArray[np.float64]) -> dict[str, Any]:
    return {"obj_id": obj_id, "cam_R_m2c": cam_from_obj[:3, :3].reshape(9).tolist(),
            "cam_t_m2c": (cam_from_obj[:3, 3] * 1e3).tolist()}


def _info(truth: ObjectTruth) -> dict[str, Any]:
    return {"visib_fract": truth.visib_fract, "px_count_visib": int(truth.mask.sum()),
            "px_count_all": truth.silhouette_px, "bbox_visib": _box(truth.mask), "bbox_obj": _box(truth.mask_full)}


def _box(mask: NDArray[np.bool_]) -> list[int]:
    """x, y, w, h [px]; -1 -1 -1 -1 for an empty mask, as BOP writes it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [-1, -1, -1, -1]
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]


def _write_images(scene: Path, simulated: SimulatedFrame, whole_masks: bool) -> None:
    frame, stem = simulated.frame, f"{simulated.index:06d}"
    counts = np.clip(np.round(frame.depth * (1e3 / DEPTH_SCALE)), 0, 65535).astype(np.uint16)
    pictures = [(scene / "rgb" / f"{stem}.png", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), _NOISY),
                (scene / "depth" / f"{stem}.png", counts, _NOISY)]
    for k, truth in enumerate(simulated.truth.values()):
        pictures.append((scene / "mask_visib" / f"{stem}_{k:06d}.png", truth.mask.astype(np.uint8) * 255, _FLAT))
        if whole_masks:
            pictures.append((scene / "mask" / f"{stem}_{k:06d}.png", truth.mask_full.astype(np.uint8) * 255, _FLAT))
    for path, picture, effort in pictures:
        _, code = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1, *effort])
        # Written by Python: cv2.imwrite only returns False when the disk is full.
        path.write_bytes(code.tobytes())
