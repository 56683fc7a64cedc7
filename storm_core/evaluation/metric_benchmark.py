"""VSD, MSSD and MSPD of the same estimates by our code and by bop_toolkit, timed in turns on this machine."""

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.models import EvalModel, bop_symmetries
from storm_core.errors import SetupError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import se3_exp, so3_exp
from storm_core.metrics.symmetric_error import mspd_pairs, mssd_pairs
from storm_core.metrics.vsd import DELTA_MM, TAUS, ray_lengths, vsd_pairs
from storm_core.rendering.raster import raster_batch
from storm_core.simulation.objects import make_object

Array = NDArray[np.float64]

CAMERA = PinholeCamera(640, 480, 572.4, 573.6, 325.3, 242.0)
MM_PER_M = 1e3
_AXIS = {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]}
_HALF_TURN = {"symmetries_discrete": [np.diag([-1.0, -1, 1, 1]).ravel().tolist()]}
OBJECTS: dict[str, dict[str, Any]] = {"cereal_box": _HALF_TURN, "bottle": _AXIS, "mug": {}, "bracket": {}}
"""Objects of the simulation with the symmetries that are declared for the benchmark."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """The estimates of one object, each in an image of its own.

    Attributes:
      estimates, truths: (N, 4, 4) cam_from_obj [m]. measured: (N, h, w) depth images [m].
    """

    model: EvalModel
    info: dict[str, Any]
    estimates: Array
    truths: Array
    measured: NDArray[np.float32]

    @cached_property
    def drawn(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The renderings (N, h, w) of estimates and truths [m]."""
        return self.render(self.estimates), self.render(self.truths)

    def render(self, poses: Array) -> NDArray[np.float32]:
        return raster_batch(self.model.vertices, self.model.faces, poses, np.tile(CAMERA.vector, (len(poses), 1)),
                            CAMERA.height, CAMERA.width, True)[0]


def make_samples(count: int, seed: int = 0) -> list[Sample]:
    """`count` estimates over OBJECTS: truths 0.5 to 1 m away, errors of some cm and some tens of degrees at most."""
    rng = np.random.default_rng(seed)
    out = []
    for k, (name, info) in enumerate(OBJECTS.items()):
        n = len(range(k, count, len(OBJECTS)))
        shape = make_object(name)
        model = EvalModel(points=shape.vertices.astype(float), faces=shape.faces, diameter=shape.diameter,
                          symmetries=bop_symmetries(info))
        truths = np.tile(np.eye(4), (n, 1, 1))
        truths[:, :3, :3] = so3_exp(rng.normal(0, 1.5, (n, 3)))
        truths[:, :3, 3] = rng.uniform([-0.15, -0.1, 0.5], [0.15, 0.1, 1.0], (n, 3))
        moves = se3_exp(np.hstack([np.zeros((n, 3)), rng.normal(0, 0.2, (n, 3))]))
        estimates = truths.copy()
        estimates[:, :3, :3] = moves[:, :3, :3] @ truths[:, :3, :3]
        estimates[:, :3, 3] += rng.normal(0, 0.01, (n, 3))
        sample = Sample(model=model, info=info, estimates=estimates, truths=truths, measured=np.zeros((0, 0, 0), "f4"))
        scene = sample.render(truths)
        measured = np.where(scene > 0, scene + rng.normal(0, 0.002, scene.shape), 1.2).astype(np.float32)
        measured[rng.random(scene.shape) < 0.02] = 0
        out.append(Sample(model=model, info=info, estimates=estimates, truths=truths, measured=measured))
    return out


def load_toolkit(folder: Path) -> Any:
    """bop_toolkit_lib.pose_error from a checkout.

    Raises:
      SetupError: it is not there or cannot be imported.
    """
    if not (folder / "bop_toolkit_lib" / "pose_error.py").is_file():
        raise SetupError(f"{folder} is no checkout of bop_toolkit; clone github.com/thodan/bop_toolkit and pass "
                         "its folder")
    sys.path.insert(0, str(folder.resolve()))
    try:
        return importlib.import_module("bop_toolkit_lib.pose_error")
    except ImportError as error:
        raise SetupError(f"bop_toolkit in {folder} cannot be imported ({error}); pip install {error.name}") from error
    finally:
        sys.path.pop(0)


Run = Callable[[], Array]


def ours(samples: list[Sample]) -> dict[str, Run]:
    """What is timed of our code, by name; each returns its values, (N,) or (N, T)."""
    rays = ray_lengths(CAMERA)

    def surface(sample: Sample, drawn: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Array:
        return np.array([vsd_pairs(e[None], t[None], m, rays, sample.model.diameter, np.ones((1, 1), bool))[0, 0]
                         for e, t, m in zip(*drawn, sample.measured, strict=True)])

    def mssd(sample: Sample) -> Array:
        # As for a dataset just opened: the convex hull is part of the work.
        model = EvalModel(points=sample.model.points, faces=sample.model.faces, diameter=sample.model.diameter,
                          symmetries=sample.model.symmetries)
        return mssd_pairs(sample.estimates, sample.truths, model.extremes, model.symmetries)[0] * MM_PER_M

    def mspd(sample: Sample) -> Array:
        return mspd_pairs(sample.estimates, sample.truths, sample.model.points, sample.model.symmetries,
                          np.tile(CAMERA.vector, (len(sample.estimates), 1)))

    return {"mssd": lambda: np.concatenate([mssd(s) for s in samples]),
            "mspd": lambda: np.concatenate([mspd(s) for s in samples]),
            "vsd": lambda: np.concatenate([surface(s, s.drawn) for s in samples]),
            "vsd_with_rendering": lambda: np.concatenate(
                [surface(s, (s.render(s.estimates), s.render(s.truths))) for s in samples])}


def theirs(samples: list[Sample], pose_error: Any) -> dict[str, Run]:
    """The same by bop_toolkit, called as its eval_calc_errors.py does: one estimate at a time, lengths in mm."""
    misc = importlib.import_module("bop_toolkit_lib.misc")
    points = [s.model.points * MM_PER_M for s in samples]
    symmetries = [misc.get_symmetry_transformations(s.info, 0.01) for s in samples]

    def each(error: Callable[..., Any]) -> Array:
        return np.array([error(k, i, e[:3, :3], e[:3, 3:] * MM_PER_M, t[:3, :3], t[:3, 3:] * MM_PER_M)
                         for k, s in enumerate(samples) for i, (e, t) in enumerate(zip(s.estimates, s.truths,
                                                                                       strict=True))])

    def surface(k: int, i: int, pose: tuple[Array, ...], renderer: Any) -> list[float]:
        s = samples[k]
        return pose_error.vsd(*pose, s.measured[i] * MM_PER_M, CAMERA.matrix, DELTA_MM, list(TAUS), True,
                              s.model.diameter * MM_PER_M, renderer, 0, "step")

    return {"mssd": lambda: each(lambda k, i, *pose: pose_error.mssd(*pose, points[k], symmetries[k])),
            "mspd": lambda: each(lambda k, i, *pose: pose_error.mspd(*pose, CAMERA.matrix, points[k], symmetries[k])),
            "vsd": lambda: each(lambda k, i, *pose: surface(
                k, i, pose, _Drawn([samples[k].drawn[0][i], samples[k].drawn[1][i]]))),
            "vsd_with_rendering": lambda: each(lambda k, i, *pose: surface(k, i, pose, _Drawing(samples[k])))}


def milliseconds(run: Run) -> tuple[float, Array]:
    """How long it took [ms], and its values."""
    start = time.perf_counter()
    values = run()
    return (time.perf_counter() - start) * MM_PER_M, values


class _Drawn:
    """Ready renderings behind the toolkit's renderer interface, the estimate first."""

    def __init__(self, depths: list[NDArray[np.float32]]) -> None:
        self._depths = depths

    def render_object(self, *_: object) -> dict[str, Array]:
        return {"depth": self._depths.pop(0).astype(float) * MM_PER_M}


class _Drawing:
    """Our rasteriser behind the toolkit's renderer interface: its own renderers need a display."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def render_object(self, _: int, r: Array, t: Array, *__: float) -> dict[str, Array]:
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3:] = r, t / MM_PER_M
        return {"depth": self._sample.render(pose[None])[0].astype(float) * MM_PER_M}
