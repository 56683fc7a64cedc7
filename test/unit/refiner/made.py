"""Networks with random weights, and a frame with an object in it, for the tests of the refiner."""

import numpy as np

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.render_compare.forward import tensor_shapes
from storm_core.render_compare.shape import NetworkShape, Scaling
from storm_core.render_compare.weights import PairWeights
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation.procedural import build, random_recipe
from storm_core.types import Frame

SHAPE = NetworkShape(width=4, blocks=1, heads=2, crop=24)


def random_weights(kind: str, shape: NetworkShape = SHAPE, seed: int = 0, scaling: Scaling | None = None
                   ) -> PairWeights:
    """Weights of a network that has learned nothing."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, size in tensor_shapes(shape, kind).items():
        value = rng.normal(0, 0.2, size)
        tensors[name] = (np.abs(value) + 0.5 if name.endswith("running_var") else value).astype(np.float32)
    return PairWeights(kind, tensors, shape, scaling or Scaling(turn=0.3), {"seed": seed})


def small_object(seed: int = 5, kind: str = "bracket", look: str = "plain") -> ObjectModel:
    return build(random_recipe(seed, kinds=(kind,), looks=(look,), size=(0.1, 0.12))).model


def view_of(model: ObjectModel) -> tuple[Frame, np.ndarray]:
    """A frame of 160 x 120 px that shows the model alone before a wall, and its pose (4, 4)."""
    camera = PinholeCamera(160, 120, 200.0, 200.0, 79.5, 59.5)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[0.8, 0.36, -0.48], [0.0, 0.8, 0.6], [0.6, -0.48, 0.64]])
    pose[:3, 3] = np.array([0.02, -0.01, 0.4]) - pose[:3, :3] @ model.center
    seen = NumbaRenderer().render(model, pose[None], camera)
    shown = seen.face[0] >= 0
    color = np.full((*shown.shape, 3), 150, np.uint8) if seen.color is None else seen.color[0]
    rgb = np.where(shown[..., None], color, np.uint8(40))
    depth = np.where(shown, seen.depth[0], np.float32(0.9))
    return Frame(rgb=rgb, depth=depth.astype(np.float32), camera=camera, stamp_ns=0), pose
