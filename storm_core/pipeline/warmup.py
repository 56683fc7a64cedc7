"""First calls are slow: kernels are compiled (once per machine) or loaded (once per process). Do it before frames come.

`python -m storm_core.pipeline.warmup` compiles every kernel into the folder that `storm doctor` names under `kernels`.
"""

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from storm_core.config import StormConfig
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import from_rotation_translation, so3_exp
from storm_core.interfaces import Localizer, Monitor, Registrar, ScoreRefiner, Tracker
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Evidence, Frame, Hint, Localization, Registration, Track

CAMERA = PinholeCamera(640, 480, 600.0, 600.0, 319.5, 239.5)

DISTANCE, WALL = 4.0, 5.0
"""Where model and wall stand [diameters]."""


def staged_view(model: ObjectModel, stamp_ns: int = 0) -> tuple[Frame, NDArray[np.float64]]:
    """A rendered frame of the model before a wall, and its cam_from_obj."""
    rotation = so3_exp(np.array([0.5, 0.4, 0.2]))
    distance = DISTANCE * model.diameter
    pose = from_rotation_translation(rotation, np.array([0, 0, distance]) - rotation @ model.center)
    r = NumbaRenderer().render(model, pose[None], CAMERA)
    depth = np.where(r.mask[0], r.depth[0], np.float32(WALL * model.diameter)).astype(np.float32)
    rgb = np.full((CAMERA.height, CAMERA.width, 3), 60, np.uint8)
    rgb[r.mask[0]] = r.color[0][r.mask[0]] if r.color is not None else 170
    return Frame(rgb=rgb, depth=depth, camera=CAMERA, stamp_ns=stamp_ns), pose


def staged_mask(frame: Frame, model: ObjectModel) -> NDArray[np.bool_]:
    """Pixels (H, W) of a staged view that show the model."""
    return frame.depth < (DISTANCE + WALL) / 2 * model.diameter


def warm_up(
    models: dict[str, ObjectModel],
    *,
    localizer: Localizer | None = None,
    registrar: Registrar | None = None,
    tracker: Tracker | None = None,
    monitor: Monitor | None = None,
    refiner: ScoreRefiner | None = None,
) -> None:
    """Run the given stages once on a staged view of one model; their answers are thrown away, their state is reset."""
    name, model = next(iter(models.items()))
    frame, pose = staged_view(model)
    known = Registration(
        object_name=name,
        stamp_ns=0,
        cam_from_obj=pose,
        covariance=np.eye(6) * 1e-6,
        probability=1.0,
        evidence=Evidence(),
    )
    if localizer is not None:
        localizer.localize(frame, name, Hint())
    if registrar is not None:
        registrar.register(
            frame,
            Localization(
                object_name=name,
                stamp_ns=0,
                mask=staged_mask(frame, model),
                cam_from_objs=np.zeros((0, 4, 4)),
                probability=1.0,
            ),
        )
    if refiner is not None:
        refiner.refine(frame, known)
    if tracker is not None:
        tracker.start(frame, known)
        later = staged_view(model, 33_333_333)[0]
        tracker.track(later)
        # A jump, so that the search for a lost object is compiled before the first real one.
        aside = frame.camera.width // 3
        jumped = {part: np.roll(getattr(later, part), aside, axis=1) for part in ("rgb", "depth")}
        tracker.track(replace(later, stamp_ns=66_666_667, **jumped))
        # Gone: whatever else explains a jump, nothing explains this, and it is looked for all around.
        tracker.reset(name)
        tracker.start(frame, known)
        tracker.track(replace(later, rgb=np.full_like(later.rgb, 60),
                              depth=np.full_like(later.depth, later.depth.max())))
        tracker.reset(name)
    if monitor is not None:
        monitor.judge(
            frame, Track(object_name=name, stamp_ns=0, cam_from_obj=pose, covariance=known.covariance, innovation=0.0)
        )
        monitor.reset(name)


@cache
def compile_kernels() -> None:
    """Compile or load every kernel of the default backends, coloured and uncoloured models alike; once per process."""
    import tempfile

    import trimesh

    from storm_core.config import build
    from storm_core.pipeline.build import (
        build_localizer,
        build_monitor,
        build_registrar,
        build_score_refiner,
        build_tracker,
    )

    mesh = trimesh.creation.box(extents=(0.08, 0.12, 0.05)).subdivide_to_size(0.008)
    vertices = np.asarray(mesh.vertices, np.float32)
    model = ObjectModel(
        name="box",
        vertices=vertices,
        faces=np.asarray(mesh.faces, np.int32),
        colors=np.random.default_rng(0).integers(0, 255, vertices.shape).astype(np.uint8),
        diameter=float(np.linalg.norm(mesh.extents)),
        symmetries=np.eye(4)[None],
        eval_vertices=vertices.astype(float),
        sha256="warm-up",
    )
    models = {"box": model}
    with tempfile.TemporaryDirectory() as folder:
        config: StormConfig = build({"onboarding.cache": folder, "onboarding.rotations": 60})
        warm_up(
            models,
            localizer=build_localizer(config, models),
            registrar=build_registrar(config, models),
            tracker=build_tracker(config, models),
            monitor=build_monitor(config, models),
            refiner=build_score_refiner(config, models),
        )


if __name__ == "__main__":
    compile_kernels()
