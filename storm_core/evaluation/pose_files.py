"""What a registration run leaves: poses as BOP files, one line per attempt, and pictures of some images."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.results import PoseEstimate, write_csv, write_scene_pred
from storm_core.errors import DatasetError
from storm_core.evaluation.images import ImageFiles, read_image
from storm_core.geometry.mesh import ObjectModel
from storm_core.report.overlay import TRUSTED, OverlayPainter
from storm_core.report.video import key_frames

PICTURES = 9
_COLUMNS = ("scene_id", "im_id", "object", "found", "reason", "detail", "probability")
_STAGES = ("localize", "register", "total")


def estimates_of(records: Sequence[Mapping[str, Any]]) -> list[PoseEstimate]:
    """The poses that were found; the time of each is that of its whole image [s], as BOP wants it."""
    times: dict[tuple[int, int], float] = {}
    for r in records:
        key = (r["scene_id"], r["im_id"])
        times[key] = times.get(key, 0.0) + r["stage_ms"]["total"] * 1e-3
    return [PoseEstimate(scene_id=r["scene_id"], im_id=r["im_id"], obj_id=int(r["object"]), score=r["probability"],
                         cam_from_obj=np.asarray(r["cam_from_obj"], float), time_s=times[r["scene_id"], r["im_id"]])
            for r in records if r["cam_from_obj"] is not None]


def write_pose_files(folder: Path, scenes: Mapping[int, Path], estimates: Sequence[PoseEstimate],
                     records: Sequence[Mapping[str, Any]]) -> None:
    """poses.csv (all scenes), predictions/<scene>/{poses.csv, scene_pred.json}, attempts.csv."""
    write_csv(folder / "poses.csv", estimates)
    for scene_id in scenes:
        place = folder / "predictions" / f"{scene_id:06d}"
        place.mkdir(parents=True)
        here = [e for e in estimates if e.scene_id == scene_id]
        write_csv(place / "poses.csv", here)
        write_scene_pred(place / "scene_pred.json", here)
    with (folder / "attempts.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*_COLUMNS, *(f"{stage}_ms" for stage in _STAGES)])
        for r in records:
            times = (f"{r['stage_ms'][s]:.3f}" if s in r["stage_ms"] else "" for s in _STAGES)
            writer.writerow([*(r[c] for c in _COLUMNS), *times])


def pictures(images: Sequence[ImageFiles], records: Sequence[Mapping[str, Any]],
             models: Mapping[str, ObjectModel]) -> list[tuple[str, NDArray[np.uint8]]]:
    """(caption, overlay) of some images, those with a refusal first; images that cannot be read are left out."""
    by_image: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for r in records:
        by_image.setdefault((r["scene_id"], r["im_id"]), []).append(r)
    shown = [image for image in images if image.key in by_image]
    refused = [any(not r["found"] for r in by_image[image.key]) for image in shown]
    painter, out = OverlayPainter(models), []
    for k in key_frames(refused, PICTURES) if shown else ():
        image, parts = shown[k], []
        try:
            frame = read_image(image)
        except DatasetError:
            continue
        picture = np.array(frame.rgb)
        for r in by_image[image.key]:
            if r["cam_from_obj"] is not None:
                painter.paint_pose(picture, frame.camera, models[r["object"]], np.asarray(r["cam_from_obj"]), TRUSTED,
                                   f"{r['object']} p={r['probability']:.2f}")
            else:
                parts.append(f"{r['object']}: {r['reason']}")
        out.append((", ".join([f"scene {image.scene_id} image {image.im_id}", *parts]), picture))
    return out
