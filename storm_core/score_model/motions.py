"""The small motion that weighted matches ask for: damped least squares, one step; for NumPy and torch.

Rotation-equivariant: turning points, gaps and normals turns the motion.
"""

from storm_core.score_model.vectors import Array, cross, namespace

DAMPING = 3e-3


def motion_by_planes(identity: Array, p: Array, gap: Array, normal: Array, weight: Array) -> Array:
    """Weighted point-to-plane step (B, 6) about the origin: argmin sum w (n . (gap - shift - turn x p))^2 + damping."""
    xp = namespace(p)
    arm = cross(p[..., None], normal[..., None])[..., 0]
    j = xp.concatenate([normal, arm], -1)
    e = (gap * normal).sum(-1)
    return _solved(identity, j, weight, e)


def motion_by_points(identity: Array, p: Array, gap: Array, weight: Array) -> Array:
    """Weighted point-to-point step (B, 6) about the origin: argmin sum w |gap - shift - turn x p|^2 + damping."""
    xp = namespace(p)
    zero = 0 * p[..., 0]
    one = zero + 1
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    rows = [[one, zero, zero, zero, z, -y], [zero, one, zero, -z, zero, x], [zero, zero, one, y, -x, zero]]
    j = xp.concatenate([xp.stack(row, -1) for row in rows], -2)
    return _solved(identity, j, xp.concatenate([weight] * 3, -1), xp.concatenate([gap[..., k] for k in range(3)], -1))


def _solved(identity: Array, j: Array, weight: Array, e: Array) -> Array:
    """Damped weighted least squares: j (B, R, 6), weight and e (B, R) -> (B, 6)."""
    xp = namespace(j)
    w = weight / (weight.sum(-1)[:, None] + 1e-3)
    jw = xp.swapaxes(j * w[..., None], -1, -2)
    normal = jw @ j + DAMPING * identity
    return xp.linalg.solve(normal, jw @ e[..., None])[..., 0]
