"""The pictures of a run: every frame for the video, and the few that the report shows. Frames are decoded once."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from storm_core.bags.recording import Recording
from storm_core.bags.truth import Truth
from storm_core.geometry.mesh import ObjectModel
from storm_core.report.frame_errors import ObjectErrors
from storm_core.report.overlay import OverlayPainter, contact_sheet
from storm_core.report.video import VideoWriter, key_frames
from storm_core.report.worst_frames import worst_frames
from storm_core.types import Frame, StepOutput

Image = NDArray[np.uint8]

KEY_FRAMES = 9
SHOWN = 12
"""Pictures in the report."""
LONGEST_VIDEO = 1800
"""Frames of a video; a longer run is shown at its own pace with every second, third, ... frame."""


class Picture(NamedTuple):
    """A picture of a report. caption: why it is shown; detail: what is known about it. image: (H, W, 3) RGB."""

    caption: str
    image: Image
    detail: str = ""


def run_pictures(folder: Path, models: Mapping[str, ObjectModel], recording: Recording, outputs: Sequence[StepOutput],
                 errors: Mapping[str, ObjectErrors], truth: Truth | None, *, video: bool,
                 rate_hz: float) -> list[Picture]:
    """Pictures of the worst frames; with `video` also overlay.mp4, overlay.gif and overlay.png (key frames) in folder.

    Without `video` only the frames that are shown are read and painted.
    """
    worst = {w.index: w for w in worst_frames(errors, outputs, SHOWN)}
    keys = key_frames([bool(o.transitions) for o in outputs], KEY_FRAMES) if video else []
    painter = OverlayPainter(models)
    shown: dict[int, Picture] = {}
    sheet: list[Image] = []
    writer: AbstractContextManager[VideoWriter | None] = nullcontext()
    filmed = range(0, len(outputs), max(1, -(-len(outputs) // LONGEST_VIDEO))) if video else range(0)
    if video:
        writer = VideoWriter(folder / "overlay.mp4", rate_hz=rate_hz / filmed.step, gif=folder / "overlay.gif",
                             frames=len(filmed))
    with writer as film:
        for k, frame in _read(recording, sorted({*filmed, *keys, *worst})):
            caption = _caption(recording, k)
            if k in filmed or k in keys:
                image = painter.paint(frame.rgb, frame.camera, outputs[k].objects, caption)
                if film is not None and k in filmed:
                    film.add(image)
                if k in keys:
                    sheet.append(image)
            if k in worst:
                image = painter.paint(frame.rgb, frame.camera, outputs[k].objects, caption, _truths(truth, k))
                time_s = (outputs[k].stamp_ns - outputs[0].stamp_ns) * 1e-9
                name = f"{worst[k].object_name}: " if len(models) > 1 else ""
                shown[k] = Picture(worst[k].why, image, f"{name}{caption} ({time_s:.2f} s), {worst[k].detail}")
    if sheet:
        cv2.imwrite(str(folder / "overlay.png"), np.ascontiguousarray(contact_sheet(sheet)[..., ::-1]))
    return [shown[k] for k in worst if k in shown]


def _read(recording: Recording, only: Sequence[int]) -> Iterator[tuple[int, Frame]]:
    frames = _ahead(recording.frames(only))
    yield from zip(only, tqdm(frames, total=len(only), unit="frame", disable=None, desc="pictures"), strict=True)


def _ahead(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames; another thread decodes the next one while one is painted."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = pool.submit(next, frames, None)
            yield frame


def _caption(recording: Recording, k: int) -> str:
    scene_id, im_id = recording.ids[k]
    return f"frame {k}" + (f", scene {scene_id} image {im_id}" if scene_id else "")


def _truths(truth: Truth | None, k: int) -> dict[str, list[NDArray[np.float64]]]:
    known = {} if truth is None else {name: frames[k] for name, frames in truth.frames.items() if k < len(frames)}
    return {name: [i.cam_from_obj for i in instances] for name, instances in known.items() if instances}
