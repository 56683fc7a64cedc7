"""Kernels that turn a rasterised scene into an image: ray-cast planes, one lamp with a shadow map, linear light."""

import numpy as np

from storm_core.kernels import njit
from storm_core.rendering.raster import raster_one

NO_SURFACE = -1
FIRST_PLANE = -2
"""Surface ids: face index of the scene mesh, NO_SURFACE, or FIRST_PLANE - k for plane k."""

_EYE = np.eye(4)


@njit(cache=True, fastmath=True, nogil=True)
def draw_mesh(vertices_cam, faces, cam, inv_depth, surface):  # noqa: ANN001, PLR0913
    """Draw camera-frame vertices (V, 3) into inv_depth [1/m] and surface (h, w); face ids are those of `faces`."""
    raster_one(vertices_cam, faces, _EYE, cam, inv_depth, surface, False)


@njit(cache=True, fastmath=True, nogil=True)
def draw_planes(world_from_cam, cam, origins, axes, half, inv_depth, surface):  # noqa: ANN001, PLR0913
    """Ray-cast rectangles behind what is drawn already.

    Args:
      world_from_cam: (4, 4). cam: fx fy cx cy.
      origins: (K, 3) centres [m]. axes: (K, 2, 3) unit axes in the plane. half: (K, 2) half edge lengths [m].
    """
    h, w = inv_depth.shape
    m = world_from_cam
    for k in range(origins.shape[0]):
        ax, ay = axes[k, 0], axes[k, 1]
        nx = ax[1] * ay[2] - ax[2] * ay[1]
        ny = ax[2] * ay[0] - ax[0] * ay[2]
        nz = ax[0] * ay[1] - ax[1] * ay[0]
        dx, dy, dz = origins[k, 0] - m[0, 3], origins[k, 1] - m[1, 3], origins[k, 2] - m[2, 3]
        height = dx * nx + dy * ny + dz * nz
        for v in range(h):
            cy = (v - cam[3]) / cam[1]
            for u in range(w):
                cx = (u - cam[2]) / cam[0]
                rx = m[0, 0] * cx + m[0, 1] * cy + m[0, 2]
                ry = m[1, 0] * cx + m[1, 1] * cy + m[1, 2]
                rz = m[2, 0] * cx + m[2, 1] * cy + m[2, 2]
                slope = rx * nx + ry * ny + rz * nz
                # height / slope is the z-depth, because the camera-frame ray has z = 1.
                if slope * height <= 0 or slope / height <= inv_depth[v, u]:
                    continue
                z = height / slope
                a = (rx * z - dx) * ax[0] + (ry * z - dy) * ax[1] + (rz * z - dz) * ax[2]
                b = (rx * z - dx) * ay[0] + (ry * z - dy) * ay[1] + (rz * z - dz) * ay[2]
                if abs(a) <= half[k, 0] and abs(b) <= half[k, 1]:
                    inv_depth[v, u] = slope / height
                    surface[v, u] = FIRST_PLANE - k


@njit(cache=True, fastmath=True, nogil=True)
def _lit(x, y, z, lamp_from_world, lamp_cam, shadow, softness):  # noqa: ANN001, PLR0913
    """Share of a soft lamp that reaches a world point, from four places around it in the shadow map (1/z)."""
    m = lamp_from_world
    lx = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
    ly = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
    lz = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    if lz <= 1e-3:
        return 1.0
    near = 1.0 / (lz - 0.006)
    pu, pv = lamp_cam[0] * lx / lz + lamp_cam[2], lamp_cam[1] * ly / lz + lamp_cam[3]
    h, w = shadow.shape
    total = 0.0
    for dv in (-0.5, 0.5):
        for du in (-0.5, 0.5):
            # Bilinear weights of the hit/miss answers keep the shadow's border smooth under magnification.
            fu, fv = pu + du * softness, pv + dv * softness
            u0, v0 = int(np.floor(fu)), int(np.floor(fv))
            if u0 < 0 or v0 < 0 or u0 + 1 >= w or v0 + 1 >= h:
                total += 1.0
                continue
            tu, tv = fu - u0, fv - v0
            a = 1.0 if shadow[v0, u0] <= near else 0.0
            b = 1.0 if shadow[v0, u0 + 1] <= near else 0.0
            c = 1.0 if shadow[v0 + 1, u0] <= near else 0.0
            d = 1.0 if shadow[v0 + 1, u0 + 1] <= near else 0.0
            total += (1 - tv) * ((1 - tu) * a + tu * b) + tv * ((1 - tu) * c + tu * d)
    return total / 4.0


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _bilinear(picture, row, column, du, dv, channel):  # noqa: ANN001, ANN202, PLR0913
    upper = (1 - du) * picture[row, column, channel] + du * picture[row, column + 1, channel]
    lower = (1 - du) * picture[row + 1, column, channel] + du * picture[row + 1, column + 1, channel]
    return (1 - dv) * upper + dv * lower


@njit(cache=True, fastmath=True, nogil=True)
def shade(  # noqa: PLR0913
    inv_depth, surface, world_from_cam, cam, vertices, normals, colors, faces, gloss, origins, axes, half, pictures,  # noqa: ANN001
    plane_gloss, lamp, ambient, lamp_from_world, lamp_cam, shadow, softness, step, out,  # noqa: ANN001
):
    """Add linear light to out (h/step, w/step, 3): the mean of every other of step x step samples, in a checkerboard.

    Args:
      vertices, normals, colors: (V, 3) world [m], world unit, linear reflectance. gloss: (V,) specular share.
      pictures: (K, S, S, 3) linear reflectance of the planes; plane_gloss: (K,).
      lamp: (4,) world position [m] and power relative to 1 m. ambient: light from everywhere.
    """
    h, w = inv_depth.shape
    m = world_from_cam
    # The black squares of a checkerboard smooth edges of every direction at half the cost of all squares.
    skip = 2 if step % 2 == 0 else 1
    weight = skip / (step * step)
    size = pictures.shape[1]
    for v in range(h):
        for u in range(v % skip, w, skip):
            s = surface[v, u]
            if s == NO_SURFACE:
                continue
            z = 1.0 / inv_depth[v, u]
            cx, cy = (u - cam[2]) / cam[0], (v - cam[3]) / cam[1]
            rx = (m[0, 0] * cx + m[0, 1] * cy + m[0, 2]) * z
            ry = (m[1, 0] * cx + m[1, 1] * cy + m[1, 2]) * z
            rz = (m[2, 0] * cx + m[2, 1] * cy + m[2, 2]) * z
            x, y, q = rx + m[0, 3], ry + m[1, 3], rz + m[2, 3]
            if s >= 0:
                i0, i1, i2 = faces[s, 0], faces[s, 1], faces[s, 2]
                ax, ay, az = vertices[i0, 0], vertices[i0, 1], vertices[i0, 2]
                e1x, e1y, e1z = vertices[i1, 0] - ax, vertices[i1, 1] - ay, vertices[i1, 2] - az
                e2x, e2y, e2z = vertices[i2, 0] - ax, vertices[i2, 1] - ay, vertices[i2, 2] - az
                fx, fy, fz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
                sq = fx * fx + fy * fy + fz * fz
                ox, oy, oz = x - ax, y - ay, q - az
                b1 = ((oy * e2z - oz * e2y) * fx + (oz * e2x - ox * e2z) * fy + (ox * e2y - oy * e2x) * fz) / sq
                b2 = ((e1y * oz - e1z * oy) * fx + (e1z * ox - e1x * oz) * fy + (e1x * oy - e1y * ox) * fz) / sq
                b1, b2 = min(max(b1, 0.0), 1.0), min(max(b2, 0.0), 1.0)
                b0 = max(0.0, 1.0 - b1 - b2)
                red = b0 * colors[i0, 0] + b1 * colors[i1, 0] + b2 * colors[i2, 0]
                green = b0 * colors[i0, 1] + b1 * colors[i1, 1] + b2 * colors[i2, 1]
                blue = b0 * colors[i0, 2] + b1 * colors[i1, 2] + b2 * colors[i2, 2]
                nx = b0 * normals[i0, 0] + b1 * normals[i1, 0] + b2 * normals[i2, 0]
                ny = b0 * normals[i0, 1] + b1 * normals[i1, 1] + b2 * normals[i2, 1]
                nz = b0 * normals[i0, 2] + b1 * normals[i1, 2] + b2 * normals[i2, 2]
                shine = gloss[i0]
            else:
                k = FIRST_PLANE - s
                px, py = axes[k, 0], axes[k, 1]
                dx, dy, dz = x - origins[k, 0], y - origins[k, 1], q - origins[k, 2]
                a = ((dx * px[0] + dy * px[1] + dz * px[2]) / half[k, 0] + 1) * 0.5 * (size - 1)
                b = ((dx * py[0] + dy * py[1] + dz * py[2]) / half[k, 1] + 1) * 0.5 * (size - 1)
                left, top = min(max(int(a), 0), size - 2), min(max(int(b), 0), size - 2)
                red = _bilinear(pictures[k], top, left, a - left, b - top, 0)
                green = _bilinear(pictures[k], top, left, a - left, b - top, 1)
                blue = _bilinear(pictures[k], top, left, a - left, b - top, 2)
                nx, ny, nz = px[1] * py[2] - px[2] * py[1], px[2] * py[0] - px[0] * py[2], px[0] * py[1] - px[1] * py[0]
                shine = plane_gloss[k]
            norm = np.sqrt(nx * nx + ny * ny + nz * nz)
            lx, ly, lz = lamp[0] - x, lamp[1] - y, lamp[2] - q
            far = np.sqrt(lx * lx + ly * ly + lz * lz)
            lx, ly, lz = lx / far, ly / far, lz / far
            facing = (nx * lx + ny * ly + nz * lz) / norm
            direct, spark = 0.0, 0.0
            if facing > 0:
                power = lamp[3] / (far * far) * _lit(x, y, q, lamp_from_world, lamp_cam, shadow, softness)
                direct = power * facing
                eye = 1.0 / np.sqrt(rx * rx + ry * ry + rz * rz)
                hx, hy, hz = lx - rx * eye, ly - ry * eye, lz - rz * eye
                half_length = np.sqrt(hx * hx + hy * hy + hz * hz)
                cosine = max((nx * hx + ny * hy + nz * hz) / (norm * half_length), 0.0)
                cosine *= cosine
                cosine *= cosine
                cosine *= cosine
                cosine *= cosine
                spark = power * shine * cosine * cosine
            # More ambient light from above than from below: a room with a bright ceiling.
            base = ambient * (0.75 + 0.25 * nz / norm) + direct
            tv, tu = v // step, u // step
            out[tv, tu, 0] += weight * (red * base + spark)
            out[tv, tu, 1] += weight * (green * base + spark)
            out[tv, tu, 2] += weight * (blue * base + spark)
