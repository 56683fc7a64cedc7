"""A table scene: bodies on textured planes under one lamp, rendered with exact depth and surface ids.

World frame: x right, y away from the usual camera, z up; the table top is z = 0.
"""

from dataclasses import dataclass, field

import numpy as np
import trimesh
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import inverse, so3_exp
from storm_core.simulation.shading import NO_SURFACE, draw_mesh, draw_planes, shade
from storm_core.simulation.textures import Picture

GAMMA = 2.2
"""Display-referred values are linear light to the power 1 / GAMMA."""
SHADOW_SIZE = 1024
SHADOW_FOCAL = 1000.0
"""Shadow map [px]: about 1.5 mm per pixel on a table 1.5 m below the lamp."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Body:
    """One mesh in the scene.

    Attributes:
      world_from_obj: (4, 4); replaced per frame for moving bodies.
      paint: RGB in [0, 1] where the model has no colours. gloss: specular share in [0, 1].
      moving: its pose is given per frame.
    """

    model: ObjectModel
    world_from_obj: NDArray[np.float64]
    paint: tuple[float, float, float] = (0.55, 0.56, 0.58)
    gloss: float = 0.05
    moving: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """A textured rectangle; `right` x `down` (the axes of the picture) points to the lit side.

    Attributes:
      centre: (3,) [m]. right, down: unit axes. half: half edge lengths along them [m].
    """

    centre: tuple[float, float, float]
    right: tuple[float, float, float]
    down: tuple[float, float, float]
    half: tuple[float, float]
    picture: Picture
    gloss: float = 0.02


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """What stands where. lamp: position [m]; power: its light at 1 m; ambient: light from everywhere."""

    bodies: tuple[Body, ...]
    planes: tuple[Plane, ...]
    lamp: tuple[float, float, float] = (-0.55, -0.45, 1.35)
    power: float = 1.75
    ambient: float = 0.36
    softness: float = 2.5


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """One noiseless view.

    Attributes:
      light: (H, W, 3) float32 linear light, or None when not asked for.
      depth: (H, W) float32 true z-depth [m] at pixel centres, 0 = nothing.
      body: (H, W) int16 index of the visible body, -1 = plane or nothing.
      cam_from_bodies: (B, 4, 4).
    """

    light: NDArray[np.float32] | None
    depth: NDArray[np.float32]
    body: NDArray[np.int16]
    cam_from_bodies: NDArray[np.float64]


@dataclass
class _Geometry:
    """All bodies as one mesh; vertices in the body frame."""

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    colors: NDArray[np.float32]
    gloss: NDArray[np.float32]
    faces: NDArray[np.int32]
    owner: NDArray[np.int16]
    spans: list[slice] = field(default_factory=list)


class SceneRenderer:
    """Views of one scene. Safe to call from several threads."""

    def __init__(self, scene: Scene, camera: PinholeCamera) -> None:
        self._scene, self._camera = scene, camera
        self._mesh = _join(scene.bodies)
        self._origins = np.array([p.centre for p in scene.planes], float).reshape(-1, 3)
        self._axes = np.array([(p.right, p.down) for p in scene.planes], float).reshape(-1, 2, 3)
        self._half = np.array([p.half for p in scene.planes], float).reshape(-1, 2)
        self._pictures = np.stack([p.picture for p in scene.planes]) ** np.float32(GAMMA)
        self._plane_gloss = np.array([p.gloss for p in scene.planes], np.float32)
        # Parked bodies are drawn into the shadow map once; only moving ones are redrawn per view.
        self._lamp_cam = np.array([SHADOW_FOCAL, SHADOW_FOCAL, SHADOW_SIZE / 2, SHADOW_SIZE / 2])
        self._parked = np.zeros((SHADOW_SIZE, SHADOW_SIZE), np.float32)
        self._draw_shadows(self._parked, np.array(scene.lamp), np.stack([b.world_from_obj for b in scene.bodies]),
                           moving=False)

    @property
    def camera(self) -> PinholeCamera:
        return self._camera

    def view(self, world_from_cam: NDArray[np.float64], world_from_bodies: NDArray[np.float64], *,
             oversample: int = 2, lamp: NDArray[np.float64] | None = None) -> View:
        """Render one view.

        Args:
          world_from_bodies: (B, 4, 4) poses of all bodies at this time.
          oversample: colour samples per pixel and axis; 0 = no colour.
          lamp: position (3,) of the lamp at this time [m]; None = where the scene has it.
        """
        cam_from_bodies = inverse(world_from_cam) @ world_from_bodies
        drawn = self._raster(self._camera, world_from_cam, cam_from_bodies)
        inv_depth, surface = drawn
        hit = inv_depth > 0
        depth = np.where(hit, 1.0 / np.where(hit, inv_depth, 1.0), 0.0).astype(np.float32)
        body = np.where(surface >= 0, self._mesh.owner[np.maximum(surface, 0)], -1).astype(np.int16)
        picture = None
        if oversample:
            camera = self._camera
            if oversample > 1:
                camera = camera.resized(camera.width * oversample, camera.height * oversample)
                drawn = self._raster(camera, world_from_cam, cam_from_bodies)
            picture = self._light(camera, drawn, world_from_cam, world_from_bodies, lamp)
        return View(light=picture, depth=depth, body=body, cam_from_bodies=cam_from_bodies)

    def silhouette(self, body: int, cam_from_obj: NDArray[np.float64], *, margin: int = 0) -> NDArray[np.bool_]:
        """Full mask of one body as if nothing stood before it, on an image grown by `margin` px to every side."""
        model, camera = self._scene.bodies[body].model, self._camera
        inv_depth = np.zeros((camera.height + 2 * margin, camera.width + 2 * margin), np.float32)
        surface = np.full(inv_depth.shape, NO_SURFACE, np.int32)
        draw_mesh(_mapped(model.vertices, cam_from_obj), model.faces, camera.vector + np.array([0, 0, margin, margin]),
                  inv_depth, surface)
        return surface != NO_SURFACE

    def _raster(self, camera: PinholeCamera, world_from_cam: NDArray[np.float64], cam_from_bodies: NDArray[np.float64]
                ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        inv_depth = np.zeros((camera.height, camera.width), np.float32)
        surface = np.full(inv_depth.shape, NO_SURFACE, np.int32)
        draw_mesh(self._placed(cam_from_bodies), self._mesh.faces, camera.vector, inv_depth, surface)
        draw_planes(world_from_cam, camera.vector, self._origins, self._axes, self._half, inv_depth, surface)
        return inv_depth, surface

    def _light(self, camera: PinholeCamera, drawn: tuple[NDArray[np.float32], NDArray[np.int32]],
               world_from_cam: NDArray[np.float64], world_from_bodies: NDArray[np.float64],
               moved_lamp: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """Linear light of a raster, made with a camera that may oversample that of this renderer."""
        scene, mesh = self._scene, self._mesh
        lamp = np.array(scene.lamp) if moved_lamp is None else moved_lamp
        shadow = self._parked.copy() if moved_lamp is None else np.zeros_like(self._parked)
        self._draw_shadows(shadow, lamp, world_from_bodies, moving=True)
        if moved_lamp is not None:
            self._draw_shadows(shadow, lamp, world_from_bodies, moving=False)
        out = np.zeros((self._camera.height, self._camera.width, 3), np.float32)
        step = camera.height // self._camera.height
        shade(*drawn, world_from_cam, camera.vector, self._placed(world_from_bodies),
              self._placed(world_from_bodies, normals=True), mesh.colors, mesh.faces, mesh.gloss, self._origins,
              self._axes, self._half, self._pictures, self._plane_gloss, np.array([*lamp, scene.power]),
              scene.ambient, _lamp_view(lamp), self._lamp_cam, shadow, scene.softness, step, out)
        return out

    def _placed(self, to_from_bodies: NDArray[np.float64], *, normals: bool = False) -> NDArray[np.float32]:
        """All vertices (or normals) mapped by their body's transform."""
        source = self._mesh.normals if normals else self._mesh.vertices
        out = np.empty_like(source)
        for span, pose in zip(self._mesh.spans, to_from_bodies.astype(np.float32), strict=True):
            out[span] = source[span] @ pose[:3, :3].T
            if not normals:
                out[span] += pose[:3, 3]
        return out

    def _draw_shadows(self, shadow: NDArray[np.float32], lamp: NDArray[np.float64],
                      world_from_bodies: NDArray[np.float64], *, moving: bool) -> None:
        lamp_from_world = _lamp_view(lamp)
        ids = np.full(shadow.shape, NO_SURFACE, np.int32)
        for body, pose in zip(self._scene.bodies, world_from_bodies, strict=True):
            if body.moving is moving:
                vertices = _mapped(body.model.vertices, lamp_from_world @ pose)
                draw_mesh(vertices, body.model.faces, self._lamp_cam, shadow, ids)


def _lamp_view(lamp: NDArray[np.float64]) -> NDArray[np.float64]:
    """lamp_from_world of the shadow map: from the lamp to the middle of the table."""
    return inverse(look_at(lamp, np.array([0.0, 0.05, 0.0])))


def _mapped(vertices: NDArray[np.float32], to_from: NDArray[np.float64]) -> NDArray[np.float32]:
    m = to_from.astype(np.float32)
    return np.ascontiguousarray(vertices @ m[:3, :3].T + m[:3, 3])


def look_at(eye: NDArray[np.float64], target: NDArray[np.float64], roll: float = 0.0) -> NDArray[np.float64]:
    """world_from_cam of an upright camera at `eye` that looks at `target`; roll about the view axis [rad]."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1) @ so3_exp([0.0, 0.0, roll])
    pose[:3, 3] = eye
    return pose


def stand(model: ObjectModel, x: float, y: float, yaw: float,
          tilt: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float64]:
    """world_from_obj of an object standing on the table at x, y [m], turned by yaw about z [rad].

    tilt: rotation about its own x and y axes [rad] before it is turned, e.g. to lay it down.
    """
    pose = np.eye(4)
    pose[:3, :3] = so3_exp([0, 0, yaw]) @ so3_exp([0, tilt[1], 0]) @ so3_exp([tilt[0], 0, 0])
    pose[:3, 3] = x, y, -(model.vertices @ pose[:3, :3].T)[:, 2].min()
    return pose


def _join(bodies: tuple[Body, ...]) -> _Geometry:
    parts: dict[str, list[NDArray]] = {key: [] for key in ("vertices", "normals", "colors", "gloss", "faces", "owner")}
    spans, start = [], 0
    for index, body in enumerate(bodies):
        model, count = body.model, len(body.model.vertices)
        mesh = trimesh.Trimesh(model.vertices.astype(float), model.faces, process=False)
        bare = model.colors is None
        painted = np.tile(np.float32(body.paint), (count, 1)) if bare else model.colors / np.float32(255)
        parts["vertices"].append(model.vertices)
        parts["normals"].append(np.asarray(mesh.vertex_normals, np.float32))
        parts["colors"].append(painted ** np.float32(GAMMA))
        parts["gloss"].append(np.full(count, body.gloss, np.float32))
        parts["faces"].append(model.faces + np.int32(start))
        parts["owner"].append(np.full(len(model.faces), index, np.int16))
        spans.append(slice(start, start + count))
        start += count
    return _Geometry(**{key: np.ascontiguousarray(np.concatenate(value)) for key, value in parts.items()}, spans=spans)
