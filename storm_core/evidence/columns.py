"""Columns of the table that a comparison of rendered poses with a frame returns."""

FAST = {"contract", "reassoc", "arcp", "nsz", "afn"}
"""fastmath without nnan/ninf: these kernels use nan for 'unknown'."""

# Columns of the table the kernel returns.
(
    N_MODEL,
    N_INSIDE,
    N_INLIER,
    N_OCCLUDED,
    N_BEHIND,
    N_MISSING,
    SUM_NORMAL,
    N_NORMAL,
    RESIDUAL,
    SUM_SCORE,
    N_CONTOUR,
    N_BACKGROUND,
    N_EDGE,
    ZNCC,
    HUE,
    N_MASKED,
    N_SMOOTH,
    CONTRAST,
    PICTURE,
    N_SILENT,
    COLUMNS,
) = range(21)
