"""A simulated RGB-D recording with its truth: a pure function of scenario name, seed and frame index."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import inverse
from storm_core.simulation.scenarios import Scenario, make_scenario
from storm_core.simulation.scene import SceneRenderer, View
from storm_core.types import Frame

VERSION = 1
"""Part of every recording's name and seed; raise it when the pictures change."""

MAX_BLUR_SAMPLES = 6
"""Instants averaged over one exposure at most."""

START_NS = 1_000_000_000
"""Stamp of the first frame [ns]: zero would read as 'no time' in ROS."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectTruth:
    """What is known of one object in one frame.

    Attributes:
      cam_from_obj: (4, 4) at mid-exposure.
      mask: (H, W) bool, visible pixels. mask_full: (H, W) bool, silhouette as if nothing stood before it.
      silhouette_px: size of the silhouette, counted beyond the image borders too (as in BOP).
    """

    cam_from_obj: NDArray[np.float64]
    mask: NDArray[np.bool_]
    mask_full: NDArray[np.bool_]
    silhouette_px: int

    @property
    def visib_fract(self) -> float:
        """Visible share of the silhouette; 0 for an object behind the camera."""
        return float(self.mask.sum() / self.silhouette_px) if self.silhouette_px else 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulatedFrame:
    """One frame with its truth. depth: (H, W) float32 noiseless z-depth [m]."""

    index: int
    frame: Frame
    depth: NDArray[np.float32]
    truth: dict[str, ObjectTruth]


class SimulatedRecording:
    """Renders frames on demand; the same name, seed and index give the same bytes on the same machine."""

    def __init__(self, scenario: Scenario | str = "demo", seed: int = 0, *, oversample: int = 2,
                 threads: int = 2) -> None:
        """Args:
          scenario: a script or the name of one. seed: of the noise, and of a named script.
          oversample: colour samples per pixel and axis. threads: frames rendered at the same time.
        """
        self._scenario = make_scenario(scenario, seed) if isinstance(scenario, str) else scenario
        self._seed, self._threads, self._oversample = seed, threads, oversample
        self._renderer = SceneRenderer(self._scenario.scene, self._scenario.camera)

    @property
    def name(self) -> str:
        """Scenario, version, seed and quality: everything that the pictures depend on."""
        coarse = "" if self._oversample > 1 else "-coarse"
        return f"{self._scenario.name}-v{VERSION}-seed{self._seed}{coarse}"

    @property
    def rate_hz(self) -> float:
        return self._scenario.rate

    @property
    def camera(self) -> PinholeCamera:
        return self._scenario.camera

    @property
    def targets(self) -> tuple[str, ...]:
        """Labels of the objects that the scenario is about."""
        return self._scenario.targets

    @property
    def models(self) -> dict[str, ObjectModel]:
        """The objects with ground truth by label: targets, then distractors."""
        return {label: self._scenario.scene.bodies[i].model for label, i in self._scenario.annotated.items()}

    def __len__(self) -> int:
        return round(self._scenario.duration * self._scenario.rate)

    def stamp_ns(self, index: int) -> int:
        return START_NS + round(index * 1e9 / self._scenario.rate)

    def frames(self) -> Iterator[Frame]:
        """Frames only, in order."""
        return (simulated.frame for simulated in self)

    def __iter__(self) -> Iterator[SimulatedFrame]:
        """All frames in order, rendered ahead by the worker threads."""
        waiting: deque[Future[SimulatedFrame]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for index in range(len(self)):
                    waiting.append(pool.submit(self.render, index))
                    if len(waiting) > 2 * self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def render(self, index: int) -> SimulatedFrame:
        """One frame with its truth."""
        s = self._scenario
        t = index / s.rate
        rng = np.random.default_rng([VERSION, self._seed, index])
        instants = self._exposure(t)
        at_rest = len(instants) == 1
        view = self._view(t, self._oversample if at_rest else 0)
        light = view.light if at_rest else self._blurred(instants)
        if s.tint != (1.0, 1.0, 1.0):
            light = light * np.float32(s.tint)
        rgb = s.color_sensor.expose(light, t, rng)
        depth = s.depth_camera.measure(view.depth, s.camera, rng, light)
        if s.blind is not None and s.blind[0] <= t < s.blind[1]:
            depth = np.zeros_like(depth)
        frame = Frame(rgb=rgb, depth=depth, camera=s.camera, stamp_ns=self.stamp_ns(index))
        truth = {label: self._truth(body, view.body, view.cam_from_bodies) for label, body in s.annotated.items()
                 if s.is_present(label, t)}
        return SimulatedFrame(index=index, frame=frame, depth=view.depth, truth=truth)

    def _view(self, t: float, oversample: int) -> View:
        s = self._scenario
        return self._renderer.view(s.path.at(t), self._world_from_bodies(t), oversample=oversample,
                                   lamp=None if s.lamp is None else s.lamp(t))

    def _blurred(self, instants: list[float]) -> NDArray[np.float32]:
        """Mean light of several instants; they are at different places, which smooths edges as oversampling does."""
        total = np.zeros((self.camera.height, self.camera.width, 3), np.float32)
        for t in instants:
            total += self._view(t, 1).light
        return total / np.float32(len(instants))

    def cam_from_obj(self, name: str, index: int) -> NDArray[np.float64]:
        """True pose of an object with ground truth, without rendering."""
        t = index / self._scenario.rate
        return inverse(self._scenario.path.at(t)) @ self._world_from_bodies(t)[self._scenario.annotated[name]]

    def _world_from_bodies(self, t: float) -> NDArray[np.float64]:
        s = self._scenario
        return np.stack([s.motions[i](t) if i in s.motions else b.world_from_obj for i, b in enumerate(s.scene.bodies)])

    def _exposure(self, t: float) -> list[float]:
        """Instants to average: one per 2 px that the picture moves while the shutter is open."""
        s = self._scenario
        ends = [t - s.exposure / 2, t + s.exposure / 2]
        pixels = []
        for end in ends:
            poses = inverse(s.path.at(end)) @ self._world_from_bodies(end)
            near = np.where(poses[:, 2, 3] > 0.1, poses[:, 2, 3], np.nan)
            pixels.append(s.camera.fx * poses[:, :2, 3] / near[:, None])
        moved = np.linalg.norm(pixels[1] - pixels[0], axis=1)
        # Where everything is behind the camera, nothing moves in the picture.
        count = int(np.clip(np.ceil(np.fmax.reduce(moved, initial=0.0) / 2.0), 1, MAX_BLUR_SAMPLES))
        return [t] if count == 1 else list(np.linspace(*ends, count))

    def _truth(self, body: int, visible: NDArray[np.int16], cam_from_bodies: NDArray[np.float64]) -> ObjectTruth:
        pose = cam_from_bodies[body]
        w = visible.shape[1]
        mask = visible == body
        mask_full = self._renderer.silhouette(body, pose)
        whole = int(mask_full.sum())
        border = mask_full[0].any() or mask_full[-1].any() or mask_full[:, 0].any() or mask_full[:, -1].any()
        if border or not whole:
            # Only the border cases need the big canvas; w px to every side hold the object until it is barely visible.
            whole = int(self._renderer.silhouette(body, pose, margin=w).sum())
        return ObjectTruth(cam_from_obj=pose, mask=mask, mask_full=mask_full, silhouette_px=whole)
