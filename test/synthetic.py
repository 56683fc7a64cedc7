"""Small rendered scenes with exact truth, for tests: a table, one or two objects, optional noise."""

import numpy as np
import trimesh

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Frame

CAMERA = PinholeCamera(640, 480, 600.0, 600.0, 319.5, 239.5)


def model_of(
    mesh: trimesh.Trimesh, name: str, colors: np.ndarray | None, symmetries: np.ndarray | None = None
) -> ObjectModel:
    """An ObjectModel of a trimesh in metres."""
    vertices = np.asarray(mesh.vertices, np.float32)
    hull = vertices[np.unique(mesh.convex_hull.faces)] if len(vertices) > 2000 else vertices
    diameter = float(np.linalg.norm(hull[:, None] - hull[None], axis=-1).max()) if len(hull) < 3000 else 0.0
    return ObjectModel(
        name=name,
        vertices=vertices,
        faces=np.asarray(mesh.faces, np.int32),
        colors=colors,
        diameter=diameter or float(np.linalg.norm(mesh.extents)),
        symmetries=np.eye(4)[None] if symmetries is None else symmetries,
        eval_vertices=vertices.astype(float),
        sha256=f"test-{name}-{len(vertices)}",
    )


def textured_box(
    name: str = "box", size: tuple[float, float, float] = (0.08, 0.12, 0.05), seed: int = 0
) -> ObjectModel:
    """A box with random colour patches: no two sides look alike."""
    mesh = trimesh.creation.box(extents=size)
    mesh = mesh.subdivide_to_size(max_edge=0.006)
    rng = np.random.default_rng(seed)
    cell = np.floor((mesh.vertices + 0.5) / 0.021).astype(int)
    palette = rng.integers(30, 255, (4096, 3))
    colors = palette[(cell * [73, 179, 283]).sum(1) % 4096].astype(np.uint8)
    return model_of(mesh, name, colors)


def bracket(name: str = "bracket") -> ObjectModel:
    """An uncoloured L-shaped part without symmetry."""
    a = trimesh.creation.box(extents=(0.10, 0.04, 0.02))
    b = trimesh.creation.box(extents=(0.02, 0.04, 0.05))
    b.apply_translation((0.04, 0, 0.035))
    mesh = trimesh.util.concatenate([a, b]).subdivide_to_size(max_edge=0.02)
    return model_of(mesh, name, None)


def pose(rotvec: tuple[float, float, float], translation: tuple[float, float, float]) -> np.ndarray:
    """cam_from_obj from a rotation vector [rad] and a translation [m]."""
    return from_rotation_translation(so3_exp(np.array(rotvec)), np.array(translation))


def frame_of(
    objects: list[tuple[ObjectModel, np.ndarray]],
    *,
    stamp_ns: int = 0,
    noise: float = 0.0,
    table: bool = True,
    seed: int = 0,
    camera: PinholeCamera = CAMERA,
) -> Frame:
    """A rendered frame: objects in front of a tilted table plane. noise: depth sigma at 1 m [m], grows with z^2."""
    rng = np.random.default_rng(seed)
    h, w = camera.height, camera.width
    v, u = np.indices((h, w))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones((h, w))], -1)
    depth = np.zeros((h, w), np.float32)
    rgb = np.full((h, w, 3), 90, np.uint8)
    if table:
        normal = np.array([0.0, -0.75, -0.66])
        z = -0.55 / np.minimum(rays @ normal, -1e-3)
        depth = np.where(z < 3.0, z, 0).astype(np.float32)
        rgb[...] = (60 + 40 * ((u // 40 + v // 40) % 2))[..., None]
    light = np.array([0.3, -0.6, -0.74])
    for model, cam_from_obj in objects:
        r = NumbaRenderer().render(model, cam_from_obj[None], camera)
        front = r.mask[0] & ((depth == 0) | (r.depth[0] < depth))
        depth[front] = r.depth[0][front]
        shade = 0.6 + 0.4 * np.clip(r.normal[0] @ light, 0, 1)
        color = r.color[0] if r.color is not None else np.full((h, w, 3), 150)
        rgb[front] = (color * shade[..., None])[front].astype(np.uint8)
    if noise:
        depth = np.where(depth > 0, depth + rng.normal(0, 1, depth.shape) * noise * depth**2, 0).astype(np.float32)
        rgb = np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)
    return Frame(rgb=np.ascontiguousarray(rgb), depth=depth, camera=camera, stamp_ns=stamp_ns)
