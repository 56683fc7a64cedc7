"""Pictures a person can judge: contour, axes, box and state of every object on the colour image."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import transform
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import ObjectOutput

Image = NDArray[np.uint8]

TRUSTED, COASTING, WITHOUT, TRUTH = (60, 230, 90), (255, 170, 30), (235, 80, 70), (60, 200, 255)
"""RGB of a trusted pose, a coasting pose, an object without a pose, and of where an object really is."""
_AXES = ((230, 50, 50), (50, 200, 50), (60, 110, 255))
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class OverlayPainter:
    """Draws outputs onto frames. One instance serves a whole recording."""

    def __init__(self, models: Mapping[str, ObjectModel]) -> None:
        self._models = models
        self._renderer = NumbaRenderer()

    def paint(self, rgb: Image, camera: PinholeCamera, objects: Sequence[ObjectOutput], caption: str = "",
              truths: Mapping[str, Sequence[NDArray[np.float64]]] | None = None) -> Image:
        """A copy of rgb (H, W, 3) with everything drawn on it. truths: true poses (4, 4) by object, drawn as contours.
        """
        image = np.array(rgb)
        for name, poses in (truths or {}).items():
            for pose in poses if name in self._models else ():
                self._contour(image, camera, self._models[name], pose, TRUTH, 4)
        for item in objects:
            if item.cam_from_obj is not None and item.object_name in self._models:
                color = TRUSTED if item.trusted else COASTING
                self.paint_pose(image, camera, self._models[item.object_name], item.cam_from_obj, color)
        for row, item in enumerate(objects):
            color = TRUSTED if item.trusted else COASTING if item.coasting else WITHOUT
            text = f"{item.object_name}: {item.state} p={item.probability:.2f}"
            if not item.trusted:
                text += f" ({item.reason.value})"
            _label(image, text, (6, 18 + 20 * row), color)
        if caption:
            _label(image, caption, (6, image.shape[0] - 8), (235, 235, 235))
        return image

    def paint_pose(self, image: Image, camera: PinholeCamera, model: ObjectModel, cam_from_obj: NDArray[np.float64],
                   color: tuple[int, int, int], label: str = "") -> None:
        """Draw the silhouette's contour and the object's axes into image, and a label at its origin."""
        self._contour(image, camera, model, cam_from_obj, color, 2)
        length = 0.35 * model.diameter
        ends = camera.project(transform(cam_from_obj, model.center + np.vstack([np.zeros(3), length * np.eye(3)])))
        if np.isfinite(ends).all() and np.abs(ends).max() < 1e4:
            origin = _point(ends[0])
            for end, axis_color in zip(ends[1:], _AXES, strict=True):
                cv2.arrowedLine(image, origin, _point(end), axis_color, 2, cv2.LINE_AA, tipLength=0.18)
            if label:
                _label(image, label, (origin[0] + 6, origin[1] - 8), color)

    def _contour(self, image: Image, camera: PinholeCamera, model: ObjectModel, cam_from_obj: NDArray[np.float64],
                 color: tuple[int, int, int], width: int) -> None:
        depth, _ = self._renderer.depth(model, cam_from_obj[None], camera)
        mask = (depth[0] > 0).astype(np.uint8)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, color, width, cv2.LINE_AA)


def contact_sheet(images: Sequence[Image], columns: int = 3, width: int = 480) -> Image:
    """Images of equal size in a grid, each scaled to `width` px."""
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    h, w = images[0].shape[:2]
    height = round(h * width / w)
    tiles = [cv2.resize(i, (width, height), interpolation=cv2.INTER_AREA) for i in images]
    columns = min(columns, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[r:r + columns]) for r in range(0, len(tiles), columns)])


def _label(image: Image, text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    """Text with its baseline at `at`, on a dark box that keeps it readable on any image."""
    (w, h), below = cv2.getTextSize(text, _FONT, 0.48, 1)
    cv2.rectangle(image, (at[0] - 3, at[1] - h - 3), (at[0] + w + 3, at[1] + below), (24, 28, 36), cv2.FILLED)
    cv2.putText(image, text, at, _FONT, 0.48, color, 1, cv2.LINE_AA)


def _point(px: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(px[0])), round(float(px[1]))
