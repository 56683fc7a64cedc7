"""Pictures of a pose distribution: how particles moved while noise was taken away, and which of them was chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between
from storm_core.rendering.raster import NumbaRenderer
from storm_core.score_model.selection import possible, select

SHOWN_STEPS = 6


def plot_evolution(file: Path, record: Mapping[str, Any], model: ObjectModel, rgb: NDArray[np.uint8],
                   camera: PinholeCamera) -> None:
    """PNG: contours of all particles over the picture at some steps; below, way and turn left to the last step."""
    from matplotlib.figure import Figure

    history = np.asarray(record["pose_history"])  # (S + 1, N, 4, 4)
    shown = np.unique(np.linspace(0, len(history) - 1, SHOWN_STEPS).round().astype(int))
    window = _window(model, np.asarray(record["sampled_poses"]), camera)
    figure = Figure(figsize=(2.6 * len(shown), 5.6), layout="constrained")
    grid = figure.add_gridspec(2, 2 * len(shown))
    for k, step in enumerate(shown):
        axes = figure.add_subplot(grid[0, 2 * k:2 * k + 2])
        _picture(axes, _contours(rgb, model, history[step], camera), window, f"step {step}")
    last = history[-1]
    centers = history[..., :3, :3] @ model.center + history[..., :3, 3]
    ways = 1e3 * np.linalg.norm(centers - centers[-1], axis=-1)
    turns = np.degrees(angle_between(history, last[None]))
    for place, (values, label) in enumerate(((ways, "centre: way left [mm]"), (turns, "turn left [deg]"))):
        axes = figure.add_subplot(grid[1, place * len(shown):(place + 1) * len(shown)])
        axes.plot(values, color="tab:blue", alpha=0.35, linewidth=0.8)
        axes.plot(np.median(values, axis=1), color="tab:red", linewidth=2, label="median")
        axes.set(xlabel="step", ylabel=label)
        axes.legend(frameon=False)
    figure.suptitle(f"image {record['image']}, object {record['object']}")
    figure.savefig(file, dpi=90)


def plot_selected(file: Path, record: Mapping[str, Any], model: ObjectModel, rgb: NDArray[np.uint8],
                  camera: PinholeCamera) -> None:
    """PNG: the pose that each selection rule chooses, over the picture."""
    from matplotlib.figure import Figure

    rules = possible(record)
    poses = np.asarray(record["sampled_poses"])
    window = _window(model, poses, camera)
    figure = Figure(figsize=(2.6 * len(rules), 3.0), layout="constrained")
    for axes, rule in zip(figure.subplots(1, len(rules), squeeze=False)[0], rules, strict=True):
        k = select(record, rule)
        errors = record.get("true_errors")
        title = rule if errors is None else f"{rule}: {1e3 * errors[k]:.1f} mm"
        _picture(axes, _contours(rgb, model, poses[k:k + 1], camera), window, title)
    figure.savefig(file, dpi=90)


def _picture(axes: Any, image: NDArray[np.uint8], window: tuple[int, int, int, int], title: str) -> None:
    x0, y0, x1, y1 = window
    axes.imshow(image[y0:y1, x0:x1])
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def _window(model: ObjectModel, poses: NDArray[np.float64], camera: PinholeCamera) -> tuple[int, int, int, int]:
    """Pixels x0, y0, x1, y1 around where the particles ended."""
    center = np.median(poses[:, :3, :3] @ model.center + poses[:, :3, 3], axis=0)
    u, v = camera.project(center)
    reach = 1.1 * model.diameter * camera.fx / center[2]
    x0, y0 = int(np.clip(u - reach, 0, camera.width - 2)), int(np.clip(v - reach, 0, camera.height - 2))
    return x0, y0, int(np.clip(u + reach, x0 + 2, camera.width)), int(np.clip(v + reach, y0 + 2, camera.height))


def _contours(rgb: NDArray[np.uint8], model: ObjectModel, poses: NDArray[np.float64], camera: PinholeCamera
              ) -> NDArray[np.uint8]:
    """The picture with the outlines of the poses (N, 4, 4)."""
    import cv2

    image = (0.7 * rgb).astype(np.uint8)
    masks = NumbaRenderer().depth(model, poses, camera)[0] > 0
    for mask in masks:
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outline, -1, (90, 230, 120), 1, cv2.LINE_AA)
    return image
