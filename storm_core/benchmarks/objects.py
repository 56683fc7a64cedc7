"""STORM's rows that no other tracker has: several objects at once, registration from a mask, onboarding."""

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.benchmarks.adapters.storm_objects import COPIES, MASKS
from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.figures import pose_errors
from storm_core.benchmarks.protocol import Pose
from storm_core.benchmarks.running import call, python_module
from storm_core.metrics.scores import quantile, quantiles
from storm_core.rendering.raster import NumbaRenderer
from storm_core.report.main_figures import RECALL_SHARE

REGISTRATIONS = 9
"""Frames of a clip in which the object is registered, spread over it."""

AGREES = 0.15
"""A measured point this near to the drawn one belongs to the object, in diameters: what is nearer hides it."""


def object_figures(clip: Clip, folder: Path, config_file: Path) -> dict[str, Any] | str:
    """The figures of one clip, or why there are none.

    Keys: one_ms, ten_ms (wall time per frame, median over frames of the shortest of the repeats), ratio; registration
    {ms {p50, p95}, tried, right, refused}; onboarding {seconds, bytes}.
    """
    frames, masks = mask_hints(clip)
    np.savez(folder / MASKS, frames=frames, masks=masks)
    out = folder / "storm_objects.txt"
    problem = call(python_module("storm_core.benchmarks.adapters.storm_objects", str(folder), str(out),
                                 str(config_file)), one_core=False)
    if problem:
        return problem
    lines = [line.split() for line in out.read_text().splitlines()]
    onboarding = next(words for words in lines if words[0] == "onboarding")
    several: dict[int, list[float]] = defaultdict(list)
    for words in lines:
        if words[0] == "copies":
            several[int(words[1])].append(float(words[3]))
    one, ten = (quantile(several[number], 0.5) for number in COPIES)
    return {"one_ms": one, "ten_ms": ten, "ratio": ten / one,
            "registration": _registrations(clip, [words for words in lines if words[0] == "register"]),
            "onboarding": {"seconds": float(onboarding[1]), "bytes": int(onboarding[2])}}


def _registrations(clip: Clip, lines: list[list[str]]) -> dict[str, Any]:
    poses: list[Pose | None] = [np.array(words[3:], float).reshape(4, 4) if len(words) == 19 else None
                                for words in lines]
    errors = pose_errors(clip, [int(words[1]) for words in lines], poses)
    # A pose that a declared symmetry makes equal is right: what counts is what ADD-S says about such objects.
    error = errors.adds_m if len(clip.model.symmetries) > 1 else errors.add_m
    return {"ms": quantiles([float(words[2]) for words in lines], p50=0.5, p95=0.95), "tried": len(lines),
            "right": int((error < RECALL_SHARE * clip.model.diameter).sum()),
            "refused": dict(Counter(words[3] for words in lines if len(words) != 19))}


def mask_hints(clip: Clip) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Frames (K,) spread over the clip, and the visible mask of the object in each (K, H, W).

    The true pose is drawn; pixels where something is measured clearly in front of it are taken out.
    """
    usable = [k for k, t in enumerate(clip.truths) if t and len(t) == 1 and t[0].good and t[0].is_visible]
    chosen = [usable[k] for k in np.unique(np.linspace(0, len(usable) - 1, REGISTRATIONS).round().astype(int))]
    renderer = NumbaRenderer()
    frames, masks = [], []
    for k in chosen:
        instances = clip.truths[k]
        assert instances
        drawn = renderer.depth(clip.model, instances[0].cam_from_obj[None], clip.camera)[0][0]
        measured = clip.frame(k).depth
        mask = (drawn > 0) & ((measured == 0) | (measured > drawn - AGREES * clip.model.diameter))
        if mask.any():
            frames.append(k)
            masks.append(mask)
    shape = (0, clip.camera.height, clip.camera.width)
    return np.array(frames, np.int64), np.array(masks, bool) if masks else np.zeros(shape, bool)
