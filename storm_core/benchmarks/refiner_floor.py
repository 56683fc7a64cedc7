"""What the refiner's work costs at least: operations and bytes, counted from the shapes of its layers."""

from dataclasses import dataclass

import numpy as np

from storm_core.render_compare.forward import tensor_shapes
from storm_core.render_compare.shape import NetworkShape


@dataclass(frozen=True)
class Work:
    """Attributes:
    operations: multiplications and additions of one pair of pictures. weight_bytes: of all weights, float32.
    """

    operations: float
    weight_bytes: int

    def floor_ms(self, pairs: int, operations_per_s: float) -> float:
        """Least time [ms] of so many pairs on a machine that does so many operations per second."""
        return 1e3 * pairs * self.operations / operations_per_s


def work_of(shape: NetworkShape, kind: str) -> Work:
    """The work of a `refiner` or a `scorer`, attention included; normalisations and activations do not count."""
    shapes = tensor_shapes(shape, kind)
    half = int(np.ceil(shape.crop / 2))
    quarter, eighth = int(np.ceil(half / 2)), int(np.ceil(np.ceil(half / 2) / 2))
    total = 0.0
    for name, size in shapes.items():
        if not name.endswith(".weight") and not name.endswith("_weight") or len(size) < 2:
            continue
        total += 2 * float(np.prod(size)) * _places(name, shape, half, quarter, eighth)
    tokens, width = shape.tokens, shape.tokens_width
    # Each attention matches all tokens with all, and mixes their values: twice T x T x C, for two heads or one trunk.
    total += (2 if kind == "refiner" else 1) * 2 * 2 * tokens * tokens * width
    return Work(total, 4 * sum(int(np.prod(size)) for size in shapes.values()))


def _places(name: str, shape: NetworkShape, half: int, quarter: int, eighth: int) -> int:
    """How often the weights of a layer are used for one pair."""
    stage, _, rest = name.partition(".")
    index = int(rest.split(".")[0]) if rest.split(".")[0].isdigit() else 0
    if stage in ("encodeA", "encoderA"):  # both pictures pass through it
        return 2 * (half**2 if index == 0 else quarter**2)
    if stage in ("encodeAB", "encoderAB"):
        return quarter**2 if index < shape.blocks else eighth**2
    if stage in ("att_cross", "linear"):
        return 1
    return shape.tokens


def measured_peak(size: int = 512, repeats: int = 5) -> float:
    """Operations per second of a matrix product in float32 in this process: what is left of the machine for it."""
    import time

    a = np.random.default_rng(0).random((size, size), np.float32)
    best = np.inf
    for _ in range(repeats):
        begin = time.process_time()
        a @ a
        best = min(best, time.process_time() - begin)
    return 2 * size**3 / max(best, 1e-9)
