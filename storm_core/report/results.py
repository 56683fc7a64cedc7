"""results.json: the numbers that other programs read. Keys are a contract; extend, don't rename."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.metrics.scores import quantiles
from storm_core.report.atomic import whole_file

Results = dict[str, Any]

STAGES = ("localize", "register", "refine", "track", "monitor", "total")


def results_head(command: str, version: str, *, path: Path | str, sha256: str, frames: int, seed: int) -> Results:
    """What every results.json starts with: command, version, input, machine, seed."""
    return {"command": command, "version": version,
            "input": {"path": str(path), "sha256": sha256, "frames": frames},
            "machine": machine(), "seed": seed}


def machine() -> dict[str, Any]:
    """The machine the numbers were measured on. gpu is None without an NVIDIA driver."""
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # not Linux: the platform's own name has to do
    gpus = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    gpu = None
    for line in gpus[0].read_text().splitlines() if gpus else ():
        if line.startswith("Model"):
            gpu = line.partition(":")[2].strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": cpu, "cores": cores, "gpu": gpu}


def stage_times(stage_ms: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Quantiles of each stage over the frames in which it ran [ms]."""
    out: dict[str, dict[str, float]] = {}
    for stage in sorted({s for frame in stage_ms for s in frame},
                        key=lambda s: (STAGES.index(s) if s in STAGES else len(STAGES), s)):
        values = [frame[stage] for frame in stage_ms if stage in frame]
        out[stage] = {**quantiles(values, p50=0.5, p95=0.95, p99=0.99), "n": len(values)}
    return out


def to_json(results: Any) -> str:
    """JSON text; nan and inf, which JSON does not have, become null."""
    return json.dumps(_plain(results), indent=2) + "\n"


def write_json(file: Path | str, results: Any) -> None:
    """Write results in one go: the file is complete or not there.

    Raises:
      SetupError: the place is not writable.
    """
    with whole_file(file) as part:
        part.write_text(to_json(results))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
