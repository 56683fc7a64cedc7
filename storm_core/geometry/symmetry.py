"""Symmetries: those that models_info.json declares, and those of the bare shape, found by measuring.

scipy is imported where it is used, as in `surface`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from storm_core.errors import MeshError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, from_rotation_translation, so3_exp, so3_log, transform
from storm_core.geometry.surface import points_at, sample

_LARGEST_GROUP = 1000
_CONTINUOUS_DEG = 15.0
"""Declared turns smaller than this stand for a continuous axis [deg]: nobody declares a polygon with 25 sides."""
_SAME = 1e-4
"""Two transforms are one symmetry when no entry differs by more (rotation entries, and metres)."""

_APART = _SAME * np.sqrt(12)
"""The same as a distance between the twelve entries of two transforms."""


def symmetry_group(info: Mapping[str, Any], unit_scale: float, *, step_deg: float = 5.0) -> NDArray[np.float64]:
    """Declared symmetries as a group of obj -> obj transforms (S, 4, 4) [m], identity first.

    Continuous axes become turns by `step_deg` (rounded so that a full turn closes). The result is closed under
    composition; only for several continuous axes (a sphere), where no fine finite group exists, it is an even grid.

    Args:
      info: an entry of models_info.json: symmetries_discrete (4x4, row-major), symmetries_continuous (axis, offset).
      unit_scale: metres per unit of translations and offsets (BOP: 1e-3).
      step_deg: angle between neighbours on a continuous axis [deg].

    Raises:
      MeshError: a matrix is not rigid, an axis is zero, or the transforms generate no small group.
    """
    matrices, declared = declared_symmetries(info, unit_scale)
    discrete = [np.eye(4), *map(_exact, matrices)]
    axes = [(axis / np.linalg.norm(axis), offset) for axis, offset in declared]
    if any(np.linalg.norm(np.cross(axes[0][0], axis)) > 1e-3 for axis, _ in axes[1:]):
        return _about(_ball(max(step_deg, 30.0)), axes[0][1])
    generators = list(discrete)
    if axes:
        axis, offset = axes[0]
        count = max(2, round(360.0 / step_deg))
        angles = np.arange(count) * (2 * np.pi / count)
        generators = [turn @ d for d in discrete for turn in _about(so3_exp(angles[:, None] * axis), offset)]
    return _closed(np.array(generators))


def declared_symmetries(info: Mapping[str, Any], unit_scale: float) -> tuple[list[NDArray[np.float64]],
                                                                             list[tuple[NDArray[np.float64], ...]]]:
    """The symmetries as an entry of models_info.json has them, checked, in metres.

    Returns:
      The discrete transforms (4, 4), rotations as rounded in the file; (axis (3,) of any length, point on it (3,)) of
      each continuous symmetry.

    Raises:
      MeshError: as `symmetry_group`, but for the group.
    """
    entries = {key: info.get(key, []) for key in ("symmetries_discrete", "symmetries_continuous")}
    for key, value in entries.items():
        if not isinstance(value, (list, tuple)):
            raise MeshError(f"{key} must be a list, got {value!r}")
    return ([_discrete(m, unit_scale) for m in entries["symmetries_discrete"]],
            [_axis(entry, unit_scale) for entry in entries["symmetries_continuous"]])


def nearest_equivalent(cam_from_obj: ArrayLike, symmetries: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Of the poses (4, 4) that look the same as `cam_from_obj`, the one turned least from `reference`.

    Among equal turns (within 0.1 degrees) the one with the nearest translation.
    """
    poses = np.asarray(cam_from_obj, float) @ np.asarray(symmetries, float)
    target = np.asarray(reference, float)
    angle = angle_between(poses, target)
    shift = np.linalg.norm(poses[:, :3, 3] - target[:3, 3], axis=1)
    close = np.flatnonzero(angle <= angle.min() + np.radians(0.1))
    return poses[close[shift[close].argmin()]]


def free_axis(symmetries: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(axis (3,), point on it (3,) [m]) of the continuous symmetry that a declared group stands for, None without one.

    A sphere has no single axis: None.
    """
    group = np.asarray(symmetries, float)
    turns = so3_log(group[:, :3, :3])
    angle = np.linalg.norm(turns, axis=1)
    small = np.flatnonzero((angle > 1e-6) & (angle < np.radians(_CONTINUOUS_DEG)))
    if not len(small):
        return None
    first = small[angle[small].argmin()]
    axis = turns[first] / angle[first]
    point = np.linalg.lstsq(np.eye(3) - group[first, :3, :3], group[first, :3, 3], rcond=1e-6)[0]
    return axis, point


def turned_to(cam_from_objs: ArrayLike, references: ArrayLike, axis: NDArray[np.float64],
              point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 4, 4) turned about an axis of the object so that they come nearest to the references (N, 4, 4)."""
    poses, wanted = np.asarray(cam_from_objs, float), np.asarray(references, float)
    between = np.swapaxes(poses[:, :3, :3], 1, 2) @ wanted[:, :3, :3]
    # The angle maximises the trace of (turn^T between), which is a cosine in it.
    vector = np.stack([between[:, 2, 1] - between[:, 1, 2], between[:, 0, 2] - between[:, 2, 0],
                       between[:, 1, 0] - between[:, 0, 1]], 1)
    across = np.trace(between, axis1=1, axis2=2) - np.einsum("i,nij,j->n", axis, between, axis)
    angle = np.arctan2(vector @ axis, across)
    return poses @ _about(so3_exp(angle[:, None] * axis), point)


def canonical(cam_from_objs: ArrayLike, symmetries: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Of each set of poses that look the same as one of (N, 4, 4), the one turned least from `reference` (4, 4).

    Equal-looking poses become equal (up to the step of a continuous axis), so that suppression sees that they are.
    """
    poses, group = np.asarray(cam_from_objs, float), np.asarray(symmetries, float)
    turned = poses[:, None] @ group
    trace = np.einsum("nsij,ij->ns", turned[:, :, :3, :3], np.asarray(reference, float)[:3, :3])
    return turned[np.arange(len(poses)), trace.argmax(1)]


def shape_symmetries(model: ObjectModel, *, tolerance: float = 0.018) -> NDArray[np.float64]:
    """Turns that leave the shape nearly unchanged, colour ignored: (S, 4, 4) obj -> obj, identity first.

    One of each set that declared symmetries make equal: the rest look alike by declaration, so nothing could choose.

    Tried: the 24 turns of a cube, and turns by 15 degrees with and without a flip, about the axes of the mesh frame and
    about the principal axes. Registration lets colour choose among them; a missed one costs a chance, a wrong one only
    time, so the tolerance is generous.

    Args:
      tolerance: mean distance of turned surface points to the surface / diameter.
    """
    from scipy.spatial import cKDTree

    vertices, faces = model.vertices.astype(float), model.faces.astype(np.int64)
    surface = points_at(vertices, faces, *sample(vertices, faces, 20_000))
    probe = surface[::40]
    center = surface.mean(0)
    principal = np.linalg.eigh(np.cov((surface - center).T))[1]
    principal[:, 0] *= np.sign(np.linalg.det(principal))
    local = _candidate_turns()
    turns = np.concatenate([local, principal @ local @ principal.T])
    offsets = [center, model.center] if np.linalg.norm(center - model.center) > 0.01 * model.diameter else [center]
    candidates = np.concatenate([_about(turns, offset) for offset in offsets])
    tree = cKDTree(surface)
    # A few points refuse most candidates; the rest is measured with all.
    bound = tolerance * model.diameter
    rough = tree.query(transform(candidates, probe[::12]))[0].mean(-1)
    candidates = candidates[rough < 2 * bound]
    error = tree.query(transform(candidates, probe))[0].mean(-1)
    order = np.argsort(error, kind="stable")
    order = order[error[order] < bound]
    spacing = tree.query(probe, k=2)[0][:, 1].mean()
    exact = error[order] < 1.5 * spacing + 0.002 * model.diameter
    # A slightly wrong turn next to a better one is no twin: refinement slides from it to the better one.
    apart = np.where(exact, np.radians(10.0), np.radians(40.0))
    turns = np.concatenate([np.eye(4)[None], candidates[order]])
    return _distinct(turns, model.symmetries, np.concatenate([[0.0], apart]))


def _candidate_turns() -> NDArray[np.float64]:
    """Rotations (N, 3, 3) about the coordinate axes."""
    from scipy.spatial.transform import Rotation

    cube = Rotation.create_group("O").as_matrix()
    steps = np.arange(24) * (np.pi / 12)
    out = [cube]
    for k in range(3):
        about = so3_exp(steps[:, None] * np.eye(3)[k])
        out += [about, about @ so3_exp(np.pi * np.eye(3)[(k + 1) % 3])]
    return np.concatenate(out)


def _distinct(turns: NDArray[np.float64], symmetries: NDArray[np.float64],
              apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each turn that, whatever declared symmetry follows it, is further than its `apart` [rad] from earlier ones."""
    kept = [0]
    for k in range(1, len(turns)):
        earlier = (turns[kept][:, None] @ symmetries).reshape(-1, 4, 4)
        if angle_between(earlier, turns[k]).min() > apart[k]:
            kept.append(k)
    return turns[kept]


def _about(rotations: ArrayLike, offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transforms (N, 4, 4) that turn about a point: t = offset - R offset."""
    r = np.asarray(rotations, float)
    return from_rotation_translation(r, offset - r @ offset)


def _ball(step_deg: float) -> NDArray[np.float64]:
    """Rotations in every direction, about `step_deg` apart, identity first."""
    from scipy.spatial.transform import Rotation

    n, half = round(360 / step_deg), round(180 / step_deg)
    around, over = np.arange(n) * 360 / n, np.arange(half + 1) * 180 / half
    angles = [(a, b, c) for b in over for a in around for c in (around if 0 < b < 180 else (0.0,))]
    return Rotation.from_euler("zyz", angles, degrees=True).as_matrix()


def _discrete(values: Any, unit_scale: float) -> NDArray[np.float64]:
    m = _numbers(values)
    if m.size != 16 or not np.isfinite(m).all():
        raise MeshError(f"symmetries_discrete needs 16 finite numbers per transform, got {values!r}")
    m = m.reshape(4, 4)
    if np.abs(m[:3, :3] @ m[:3, :3].T - np.eye(3)).max() > 1e-2 or np.linalg.det(m[:3, :3]) < 0:
        raise MeshError(f"symmetries_discrete holds a matrix that is no rotation: {m[:3, :3].tolist()}")
    return from_rotation_translation(m[:3, :3], m[:3, 3] * unit_scale)


def _exact(m: NDArray[np.float64]) -> NDArray[np.float64]:
    u, _, vt = np.linalg.svd(m[:3, :3])  # rounded numbers in the file would add up in products
    return from_rotation_translation(u @ vt, m[:3, 3])


def _axis(entry: Any, unit_scale: float) -> tuple[NDArray[np.float64], ...]:
    known = entry if isinstance(entry, Mapping) else {}
    axis, offset = _numbers(known.get("axis", ())), _numbers(known.get("offset", (0, 0, 0)))
    finite = axis.shape == offset.shape == (3,) and np.isfinite([axis, offset]).all()
    if not finite or np.linalg.norm(axis) <= 1e-6:
        raise MeshError("symmetries_continuous needs axis (3 numbers, not all 0) and offset (3 numbers), got "
                        f"{entry!r}")
    return axis, offset * unit_scale


def _numbers(values: Any) -> NDArray[np.float64]:
    """Numbers of a JSON file in one row; none for what is no array of numbers."""
    try:
        return np.array(values, float).reshape(-1)
    except (TypeError, ValueError):
        return np.empty(0)


def _closed(generators: NDArray[np.float64]) -> NDArray[np.float64]:
    """The group that transforms generate: multiplied until nothing new appears."""
    from scipy.spatial import cKDTree

    group = _unique(generators)
    while True:
        # Products of products reach the end sooner, or sooner show that there is none.
        factors = np.concatenate([generators, group[:16]])
        products = (factors[:, None] @ group).reshape(-1, 4, 4)
        near = cKDTree(_flat(group)).query(_flat(products), distance_upper_bound=_APART)[0]
        new = _unique(products[~np.isfinite(near)])
        if len(group) + len(new) > _LARGEST_GROUP:
            raise MeshError(f"the declared symmetries generate more than {_LARGEST_GROUP} transforms; are the "
                            "matrices exact, and do the axes fit together?")
        if not len(new):
            return group
        group = np.concatenate([group, new])


def _unique(transforms: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    if not len(transforms):
        return transforms
    pairs = cKDTree(_flat(transforms)).query_pairs(_APART, output_type="ndarray")
    again = np.zeros(len(transforms), bool)
    again[pairs.max(1)] = True  # of each set of equals only the first stays
    return transforms[~again]


def _flat(transforms: NDArray[np.float64]) -> NDArray[np.float64]:
    return transforms[:, :3].reshape(len(transforms), 12)
