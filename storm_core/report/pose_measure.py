"""The errors of estimated poses against every instance they could mean."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.bop.models import EvalModel
from storm_core.bop.views import SceneViews
from storm_core.errors import DatasetError
from storm_core.geometry.camera import PinholeCamera
from storm_core.metrics.symmetric_error import mspd_pairs, mssd_pairs
from storm_core.metrics.vsd import DELTA_MM, ray_lengths, silhouettes_may_overlap, vsd_pairs
from storm_core.rendering.raster import raster_batch
from storm_core.report.pose_groups import PoseGroup

Array = NDArray[np.float64]

METRICS = ("vsd", "mssd", "mspd")
_PIXELS_AT_ONCE = 10_000_000
"""Renderings held in memory at once."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PoseErrors:
    """Errors of the estimates of a group (rows) against its instances (columns).

    Attributes:
      mssd_m: (E, G) [m]. mspd_px: (E, G) [px], None when not asked for or the camera is unknown.
      vsd: (min(E, wanted), G, T), None when not asked for or the image cannot be used.
      camera: of the image, None when unknown.
    """

    group: PoseGroup
    mssd_m: Array
    mspd_px: Array | None
    vsd: Array | None
    camera: PinholeCamera | None


Faults = dict[tuple[int, int], str]
"""(scene_id, im_id) -> why the image could not be used for VSD or MSPD."""


def measure_scene(groups: Sequence[PoseGroup], models: Mapping[int, EvalModel], views: SceneViews | None,
                  metrics: Collection[str], delta_mm: float = DELTA_MM) -> tuple[list[PoseErrors], Faults]:
    """Errors of the groups of one scene, and the images that could not be used.

    Args:
      views: cameras and depth of the scene; None when neither VSD nor MSPD is asked for.
      metrics: of METRICS. MSSD is always measured: estimates are assigned by it.
    """
    cameras: dict[tuple[int, int], PinholeCamera] = {}
    faults: Faults = {}
    for key in dict.fromkeys(g.key for g in groups) if views is not None else ():
        try:
            cameras[key] = views.camera(key[1])
        except DatasetError as error:
            faults[key] = str(error)
    mssd, mspd = _point_errors(groups, models, cameras, "mspd" in metrics)
    surfaces: dict[int, Array] = {}
    if "vsd" in metrics and views is not None:
        surfaces = _surface_errors(groups, models, cameras, views, delta_mm, faults)
    out = []
    for k, group in enumerate(groups):
        out.append(PoseErrors(group=group, mssd_m=mssd[k], mspd_px=mspd.get(k), vsd=surfaces.get(k),
                              camera=cameras.get(group.key)))
    return out, faults


def _point_errors(groups: Sequence[PoseGroup], models: Mapping[int, EvalModel],
                  cameras: Mapping[tuple[int, int], PinholeCamera],
                  project: bool) -> tuple[dict[int, Array], dict[int, Array]]:
    """MSSD by index of group, and MSPD where the camera is known; all pairs of an object at once."""
    mssd: dict[int, Array] = {}
    mspd: dict[int, Array] = {}
    for obj_id in dict.fromkeys(g.obj_id for g in groups):
        model = models[obj_id]
        mine = {k: g for k, g in enumerate(groups) if g.obj_id == obj_id}
        mssd |= _unstacked(mine, mssd_pairs(*_stacked(mine), model.extremes, model.symmetries)[0])
        seen = {k: g for k, g in mine.items() if g.key in cameras} if project else {}
        if seen:
            lenses = np.concatenate([np.tile(cameras[g.key].vector, (mssd[k].size, 1)) for k, g in seen.items()])
            mspd |= _unstacked(seen, mspd_pairs(*_stacked(seen), model.points, model.symmetries, lenses))
    return mssd, mspd


def _stacked(groups: Mapping[int, PoseGroup]) -> tuple[Array, Array]:
    """Estimates (N, 4, 4) and truths (N, 4, 4) of every pair of every group."""
    pairs = [(np.repeat(g.poses, len(g.instances), 0), np.tile(g.truths, (len(g.estimates), 1, 1)))
             for g in groups.values()]
    return np.concatenate([e for e, _ in pairs]), np.concatenate([t for _, t in pairs])


def _unstacked(groups: Mapping[int, PoseGroup], values: Array) -> dict[int, Array]:
    """(E, G) of each group from the values (N,) of all pairs."""
    shapes = [(len(g.estimates), len(g.instances)) for g in groups.values()]
    ends = np.cumsum([e * n for e, n in shapes])
    return {k: part.reshape(shape) for k, part, shape in
            zip(groups, np.split(values, ends[:-1]), shapes, strict=True)}


def _surface_errors(groups: Sequence[PoseGroup], models: Mapping[int, EvalModel],
                    cameras: Mapping[tuple[int, int], PinholeCamera], views: SceneViews, delta_mm: float,
                    faults: Faults) -> dict[int, Array]:
    """VSD (min(E, wanted), G, T) by index of group: only as many estimates as are sought count in BOP's recall.

    Depth images are decoded on all cores, and the poses of many images are drawn at once, which keeps the renderer's
    threads busy. Faults are added for images that fail.
    """
    sought = {k: g for k, g in enumerate(groups) if g.wanted and g.instances and g.key in cameras}
    measured: dict[tuple[int, int], NDArray[np.float32]] = {}
    for key, image in _depth_images(views, dict.fromkeys(g.key for g in sought.values())):
        if isinstance(image, DatasetError):
            faults[key] = str(image)
        else:
            measured[key] = image
    rays = {key: ray_lengths(camera) for key, camera in cameras.items() if key in measured}
    out: dict[int, Array] = {}
    for block in _blocks({k: g for k, g in sought.items() if g.key in measured}, cameras):
        model = models[next(iter(block.values())).obj_id]
        counts = [(min(len(g.estimates), g.wanted), len(g.instances)) for g in block.values()]
        poses = np.concatenate([p for g in block.values() for p in (g.poses[:g.wanted], g.truths)])
        lenses = np.repeat([cameras[g.key].vector for g in block.values()], [e + n for e, n in counts], 0)
        camera = cameras[next(iter(block.values())).key]
        depth, _ = raster_batch(model.vertices, model.faces, poses, lenses, camera.height, camera.width, True)
        start = 0
        for (k, group), (estimates, instances) in zip(block.items(), counts, strict=True):
            here, there, end = start, start + estimates, start + estimates + instances
            compared = silhouettes_may_overlap(poses[here:there, None], poses[None, there:end], model.diameter)
            out[k] = vsd_pairs(depth[here:there], depth[there:end], measured[group.key], rays[group.key],
                               model.diameter, compared, delta_mm=delta_mm)
            start = end
    return out


def _depth_images(views: SceneViews, keys: Iterable[tuple[int, int]]) -> Iterator[
        tuple[tuple[int, int], NDArray[np.float32] | DatasetError]]:
    def read(key: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.float32] | DatasetError]:
        try:
            return key, views.depth(key[1])
        except DatasetError as error:
            return key, error

    with ThreadPoolExecutor() as pool:
        yield from pool.map(read, keys)


def _blocks(groups: Mapping[int, PoseGroup],
            cameras: Mapping[tuple[int, int], PinholeCamera]) -> Iterator[dict[int, PoseGroup]]:
    """Groups of one object and one image size, as many as _PIXELS_AT_ONCE allows."""
    kinds: dict[tuple[int, int, int], dict[int, PoseGroup]] = {}
    for k, group in groups.items():
        camera = cameras[group.key]
        kinds.setdefault((group.obj_id, camera.width, camera.height), {})[k] = group
    for (_, width, height), mine in kinds.items():
        block: dict[int, PoseGroup] = {}
        poses = 0
        for k, group in mine.items():
            more = min(len(group.estimates), group.wanted) + len(group.instances)
            if block and (poses + more) * width * height > _PIXELS_AT_ONCE:
                yield block
                block, poses = {}, 0
            block[k] = group
            poses += more
        yield block
