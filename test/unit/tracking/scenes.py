"""Rendered RGB-D frames of a procedural object with known poses: textured surface and background, sensor noise."""

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, se3_exp, so3_exp
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Evidence, Frame, Registration

CAMERA = PinholeCamera(320, 240, 300.0, 300.0, 159.5, 119.5)
STEP_NS = 33_000_000


def wedge(name: str = "wedge") -> ObjectModel:
    """A body without symmetry, 120 mm long: a subdivided box whose top is slanted and whose side has a bump."""
    n = 12
    line = np.linspace(-1, 1, n + 1)
    a, b = np.meshgrid(line, line, indexing="ij")
    vertices, faces = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            face = np.stack([a, b, np.full_like(a, sign)], -1).reshape(-1, 3)
            face = np.roll(face, axis + 1, axis=1)
            start = sum(len(v) for v in vertices)
            vertices.append(face)
            i, j = np.meshgrid(range(n), range(n), indexing="ij")
            corner = (start + i * (n + 1) + j).reshape(-1)
            quad = [corner, corner + n + 1, corner + n + 2, corner + 1]
            if sign < 0:
                quad = quad[::-1]
            faces += [np.stack([quad[0], quad[1], quad[2]], -1), np.stack([quad[0], quad[2], quad[3]], -1)]
    p = np.concatenate(vertices)
    p = p * np.array([0.06, 0.04, 0.03])
    p[:, 2] *= 1.0 + 5.0 * p[:, 0]
    p[:, 1] += 0.012 * np.exp(-((p[:, 0] - 0.02) ** 2) / 0.0004) * (p[:, 1] > 0)
    hue = np.stack([np.sin(90 * p[:, 0]), np.sin(110 * p[:, 1] + 1), np.sin(130 * p[:, 2] + 2)], -1)
    colors = np.clip(150 + 60 * hue + np.array([60, -20, -50]), 0, 255).astype(np.uint8)
    faces = np.concatenate(faces).astype(np.int32)
    diameter = float(np.linalg.norm(p[:, None] - p, axis=-1).max())
    return ObjectModel(
        name=name,
        vertices=p.astype(np.float32),
        faces=faces,
        colors=colors,
        diameter=diameter,
        symmetries=np.eye(4)[None],
        eval_vertices=p.astype(float),
        sha256=name,
    )


def printed_can(name: str = "can") -> ObjectModel:
    """A cylinder of 35 mm radius and 100 mm height whose print is its only mark of rotation."""
    import trimesh

    mesh = trimesh.creation.cylinder(radius=0.035, height=0.1, sections=64).subdivide_to_size(0.006)
    p = np.asarray(mesh.vertices)
    patch = (np.floor(np.arctan2(p[:, 1], p[:, 0]) * 5) + 13 * np.floor(p[:, 2] / 0.012)).astype(int)
    colors = np.random.default_rng(0).integers(60, 230, (997, 3))[patch % 997].astype(np.uint8)
    return ObjectModel(
        name=name,
        vertices=p.astype(np.float32),
        faces=np.asarray(mesh.faces, np.int32),
        colors=colors,
        diameter=float(np.hypot(0.07, 0.1)),
        symmetries=np.eye(4)[None],
        eval_vertices=p,
        sha256=name,
    )


def background(rng: np.random.Generator, camera: PinholeCamera = CAMERA) -> NDArray[np.uint8]:
    """Smooth bluish-green random texture."""
    import cv2

    coarse = rng.uniform(0, 1, (camera.height // 16, camera.width // 16, 3)).astype(np.float32)
    soft = cv2.resize(coarse, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    return np.clip(soft * np.array([90, 140, 150]) + np.array([10, 40, 60]), 0, 255).astype(np.uint8)


def observe(
    model: ObjectModel,
    cam_from_obj: NDArray[np.float64],
    stamp_ns: int,
    backdrop: NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    noise: float = 0.001,
    wall: float = 1.0,
    occluder: float = 0.0,
    camera: PinholeCamera = CAMERA,
) -> Frame:
    """One RGB-D frame; noise: depth noise [m]; wall: distance of the background [m]; occluder: share of the image width
    covered from the left by a plate 0.3 m away."""
    import cv2

    big = PinholeCamera(
        camera.width * 3, camera.height * 3, camera.fx * 3, camera.fy * 3, camera.cx * 3 + 1, camera.cy * 3 + 1
    )
    fine = NumbaRenderer().render(model, cam_from_obj[None], big)
    rgb = cv2.resize(backdrop, (big.width, big.height), interpolation=cv2.INTER_NEAREST)
    rgb[fine.mask[0]] = fine.color[0][fine.mask[0]]
    rgb = cv2.resize(rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    rendered = fine.depth[0, 1::3, 1::3]
    depth = np.where(rendered > 0, rendered, wall).astype(np.float32)
    columns = int(occluder * camera.width)
    depth[:, :columns] = 0.3
    rgb[:, :columns] = (70, 70, 75)
    depth = (depth + rng.normal(0, noise, depth.shape)).astype(np.float32)
    depth[rng.random(depth.shape) < 0.03] = 0.0
    rgb = np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)
    return Frame(rgb=rgb, depth=depth, camera=camera, stamp_ns=stamp_ns)


def swing(count: int, speed: float = 1.0) -> NDArray[np.float64]:
    """Poses (count, 4, 4) of a hand-like motion: shift, advance and turn."""
    t = np.arange(count) * 0.033 * speed
    turn = np.stack([0.5 + 0.6 * np.sin(1.1 * t), 0.6 * np.sin(0.9 * t + 0.5), 0.7 * np.sin(0.7 * t)], -1)
    shift = np.stack([0.05 * np.sin(1.3 * t), 0.03 * np.sin(1.7 * t), 0.55 + 0.06 * np.sin(0.8 * t)], -1)
    return from_rotation_translation(so3_exp(turn), shift)


def registered(name: str, pose: NDArray[np.float64], stamp_ns: int) -> Registration:
    return Registration(
        object_name=name,
        stamp_ns=stamp_ns,
        cam_from_obj=pose,
        covariance=np.eye(6) * 1e-6,
        probability=1.0,
        evidence=Evidence(),
    )


def disturbed(
    pose: NDArray[np.float64], shift: NDArray[np.float64], turn: NDArray[np.float64], center: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The pose moved by a shift [m] and a turn [rad] about the object centre."""
    to_center = np.eye(4)
    to_center[:3, 3] = pose[:3, :3] @ center + pose[:3, 3]
    return to_center @ se3_exp(np.concatenate([shift, turn])) @ np.linalg.inv(to_center) @ pose
