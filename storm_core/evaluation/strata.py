"""Figures by stratum of difficulty, for datasets that `storm simulate benchmark` made."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.metrics.tracking import WRONG_SHARE
from storm_core.report.evaluate import RECALL_SHARE
from storm_core.report.pose_table import JudgedTargets
from storm_core.simulation.benchmark import FILE, Benchmark, by_stratum, load_benchmark


def find_benchmark(root: Path) -> Benchmark | None:
    """The description of the benchmark that a dataset, split or scene folder belongs to; None for other datasets.

    Raises:
      DatasetError: there is one, but it cannot be read.
    """
    root = root.resolve()
    home = next((folder for folder in (root, *list(root.parents)[:2]) if (folder / FILE).is_file()), None)
    return None if home is None else load_benchmark(home)


def stratum_figures(benchmark: Benchmark, judged: Mapping[int, JudgedTargets],
                    diameters_m: Mapping[int, float]) -> dict[str, dict[str, dict[str, Any]]]:
    """stratum -> figure -> {mean, scenes, missing} over the scenes with targets; every scene has the same weight.

    Figures are shares of a scene's targets: `found` has a pose, `right` has MSSD < 0.1 diameter, `wrong` has a pose
    with MSSD > 0.2 diameter.
    """
    rows: dict[int, list[tuple[bool, bool, bool]]] = {}
    for obj_id, targets in judged.items():
        share = targets.mssd_m / diameters_m[obj_id]
        found = np.isfinite(targets.score)
        for (scene, _), *row in zip(targets.places, found, share < RECALL_SHARE, found & (share > WRONG_SHARE),
                                    strict=True):
            rows.setdefault(scene, []).append(tuple(row))
    records = {scene: dict(zip(("found", "right", "wrong"), np.mean(of_scene, 0).tolist(), strict=True))
               for scene, of_scene in rows.items()}
    kept = replace(benchmark, scenes={i: s for i, s in benchmark.scenes.items() if i in records})
    return {stratum: {name: asdict(figure) for name, figure in figures.items()}
            for stratum, figures in by_stratum(records, kept).items()}
