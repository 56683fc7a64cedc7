"""What the outline of a rendered pose says: background behind it, image edges on it, surfaces that slide across it."""

import numpy as np

from storm_core.evidence.columns import FAST, N_BACKGROUND, N_CONTOUR, N_EDGE, N_SILENT, N_SMOOTH
from storm_core.kernels import njit


@njit(cache=True, fastmath=FAST)
def seams_kernel(row, depth, face, crop, depth_image, tau, side):  # noqa: ANN001, PLR0913
    """Count borders between agreeing and contradicting pixels where the measured surface is continuous.

    A real occluder starts with a depth step. A surface that slides smoothly from "agrees" to "in front" or "behind"
    is another object that the model merely cuts.
    """
    h, w = depth_image.shape
    for v in range(side - 1):
        for u in range(side - 1):
            if face[v, u] < 0:
                continue
            x = int(np.floor(crop[4] + crop[6] * u + 0.5))
            y = int(np.floor(crop[5] + crop[6] * v + 0.5))
            if x < 0 or y < 0 or x >= w or y >= h:
                continue
            z = depth_image[y, x]
            if z <= 0:
                continue
            agrees = abs(z - depth[v, u]) <= tau
            for k in range(2):
                vv, uu = v + k, u + 1 - k
                if face[vv, uu] < 0:
                    continue
                xx = int(np.floor(crop[4] + crop[6] * uu + 0.5))
                yy = int(np.floor(crop[5] + crop[6] * vv + 0.5))
                if xx < 0 or yy < 0 or xx >= w or yy >= h:
                    continue
                zz = depth_image[yy, xx]
                if zz > 0 and agrees != (abs(zz - depth[vv, uu]) <= tau) and abs(zz - z) < 0.7 * tau:
                    row[N_SMOOTH] += 1


@njit(cache=True, fastmath=FAST)
def contour_kernel(row, depth, face, crop, depth_image, grey, tau, gap, side):  # noqa: ANN001, PLR0913
    """Walk the silhouette: is there background behind it, and an image edge along it?"""
    h, w = depth_image.shape
    reach = max(2.0, 0.05 * side)
    for v in range(1, side - 1):
        for u in range(1, side - 1):
            if face[v, u] < 0:
                continue
            gx = (1.0 if face[v, u - 1] >= 0 else 0.0) - (1.0 if face[v, u + 1] >= 0 else 0.0)
            gy = (1.0 if face[v - 1, u] >= 0 else 0.0) - (1.0 if face[v + 1, u] >= 0 else 0.0)
            if gx == 0 and gy == 0:
                continue
            # A wider stencil gives a smoother outward direction than the four neighbours alone.
            gx += 0.5 * (
                (1.0 if face[v - 1, u - 1] >= 0 else 0.0)
                - (1.0 if face[v - 1, u + 1] >= 0 else 0.0)
                + (1.0 if face[v + 1, u - 1] >= 0 else 0.0)
                - (1.0 if face[v + 1, u + 1] >= 0 else 0.0)
            )
            gy += 0.5 * (
                (1.0 if face[v - 1, u - 1] >= 0 else 0.0)
                - (1.0 if face[v + 1, u - 1] >= 0 else 0.0)
                + (1.0 if face[v - 1, u + 1] >= 0 else 0.0)
                - (1.0 if face[v + 1, u + 1] >= 0 else 0.0)
            )
            length = np.sqrt(gx * gx + gy * gy)
            if length == 0:
                continue
            gx, gy = gx / length, gy / length
            x = int(np.floor(crop[4] + crop[6] * u + 0.5))
            y = int(np.floor(crop[5] + crop[6] * v + 0.5))
            ox = int(np.floor(crop[4] + crop[6] * (u + gx * reach) + 0.5))
            oy = int(np.floor(crop[5] + crop[6] * (v + gy * reach) + 0.5))
            if x < 0 or y < 0 or x >= w or y >= h or ox < 0 or oy < 0 or ox >= w or oy >= h:
                continue
            z = depth[v, u]
            zi, zo = depth_image[y, x], depth_image[oy, ox]
            if (zi > 0 and zi < z - tau) or (zo > 0 and zo < z - tau):
                continue  # occluded here: says nothing
            row[N_CONTOUR] += 1
            # An oriented edge: intensity step across the contour, best of five positions around it.
            best = 0.0
            for k in range(-2, 3):
                s = 1.5
                ax = int(np.floor(crop[4] + crop[6] * u + gx * (k - s) + 0.5))
                ay = int(np.floor(crop[5] + crop[6] * v + gy * (k - s) + 0.5))
                bx = int(np.floor(crop[4] + crop[6] * u + gx * (k + s) + 0.5))
                by = int(np.floor(crop[5] + crop[6] * v + gy * (k + s) + 0.5))
                if ax < 0 or ay < 0 or bx < 0 or by < 0 or ax >= w or bx >= w or ay >= h or by >= h:
                    continue
                # Steps along the contour cost: the edge must be across it, not a corner of texture beside it.
                across = abs(np.float64(grey[by, bx]) - np.float64(grey[ay, ax]))
                best = max(best, across)
            edge = best > 18.0
            if edge:
                row[N_EDGE] += 1
            if zi <= 0 and zo <= 0:
                row[N_SILENT] += 1  # in the shadow of something: no background was seen here, nor its absence
            elif zo <= 0 or zo > z + gap:
                row[N_BACKGROUND] += 1
            elif edge:
                row[N_BACKGROUND] += 0.5  # a flat thing on a table has no background behind it, but it ends visibly
