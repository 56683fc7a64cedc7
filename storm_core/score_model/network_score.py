"""The score network at work on one object in one frame: the scene is encoded once, particles are evaluated in batches.

Runs on NumPy, or on torch when a CUDA device is asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import BackendError, ConfigError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.score_model.clouds import ScenePoints, object_points
from storm_core.score_model.encoder import Cloud, encode, repeated, turned_cloud
from storm_core.score_model.network import score_and_error
from storm_core.score_model.particles import Particles
from storm_core.score_model.weights import ScoreWeights

DEVICES = ("numpy", "cpu", "cuda")


class Runtime:
    """Weights on a device: numpy (no torch needed), cpu or cuda (torch)."""

    def __init__(self, weights: ScoreWeights, device: str = "numpy") -> None:
        if device not in DEVICES:
            raise ConfigError(f"score_model.device must be one of {', '.join(DEVICES)}, got {device!r}")
        self.weights, self.device = weights, device
        self._torch = None if device == "numpy" else _torch_with(device)
        self.params: dict[str, Any] = {k: self.array(v) for k, v in weights.params.items()}

    def array(self, x: NDArray[Any]) -> Any:
        """x as float32 where the network computes."""
        x = np.ascontiguousarray(x, np.float32)
        return x if self._torch is None else self._torch.as_tensor(x, device=self.device)

    def numpy(self, x: Any) -> NDArray[np.float64]:
        return (x if self._torch is None else x.cpu().numpy()).astype(np.float64)


class NetworkScore:
    """Score of one object in one frame. Latents after the last call: `scene_latent`, `object_latents`."""

    def __init__(self, runtime: Runtime, scene: ScenePoints, model: ObjectModel, camera: PinholeCamera) -> None:
        self._runtime, self._scene_points, self._model, self._camera = runtime, scene, model, camera
        points, normals = runtime.array(scene.points[None]), runtime.array(scene.normals[None])
        self._scene = encode(runtime.params, runtime.weights.network, points, normals)
        self._many: Cloud = self._scene
        self._rendered: Cloud | None = None
        self._at = np.zeros((0, 3, 3))

    def poses(self, particles: Particles) -> NDArray[np.float64]:
        """cam_from_obj (N, 4, 4) [m]."""
        return particles.poses(self._scene_points.origin, self._model.center, self._model.diameter)

    def render(self, particles: Particles) -> None:
        """Encode what each particle would show."""
        points, normals = object_points(self._model, self.poses(particles), self._camera,
                                        self._runtime.weights.network.points)
        array = self._runtime.array
        self._rendered = encode(self._runtime.params, self._runtime.weights.network, array(points), array(normals))
        self._at = particles.turns
        if len(self._many.points) != len(particles):
            self._many = repeated(self._scene, len(particles))

    def __call__(self, particles: Particles, level: float) -> NDArray[np.float64]:
        return self.evaluate(particles, level)[0]

    def evaluate(self, particles: Particles, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Score times width (N, 6) and the expected mean point error (N,) [diameters] of particles last rendered."""
        runtime, n = self._runtime, len(particles)
        array = runtime.array
        widths = np.tile(runtime.weights.schedule.widths(level), (n, 1))
        places = self._scene_points.origin + self._model.diameter * particles.centers
        rays = places / np.linalg.norm(places, axis=1, keepdims=True)
        obj = self._carried(particles)
        score, error = score_and_error(
            runtime.params, runtime.weights.network, self._many, obj, array(particles.centers), array(rays),
            array(particles.turns), array(np.full(n, level)), array(widths))
        return runtime.numpy(score), np.exp(runtime.numpy(error))

    def latents(self, particles: Particles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Latent of the scene (3, C) and of each particle (N, 3, C), camera axes."""
        obj = self._carried(particles)
        return self._runtime.numpy(self._scene.latent)[0], self._runtime.numpy(obj.latent)

    def _carried(self, particles: Particles) -> Cloud:
        assert self._rendered is not None, "render particles before asking for their score"
        turns = particles.turns @ np.swapaxes(self._at, 1, 2)
        return turned_cloud(self._rendered, self._runtime.array(turns))


def _torch_with(device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise BackendError(f"score_model.device {device} needs torch; `make full`, or use score_model.device: numpy"
                           ) from error
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError("score_model.device is cuda, but torch sees no CUDA device; use numpy or cpu")
    return torch
