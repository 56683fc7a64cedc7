"""Where `storm refine` starts: poses of a file, or a fresh search in each picture."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from storm_core.cli.pictures import Key

if TYPE_CHECKING:
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.types import Frame, Registration

    Start = Callable[[Key, str, Frame], Registration | None]


def file_start(file: Path, models: Path, names: Sequence[str]) -> "Start":
    """Starts at the best-scored pose of each image and object of a BOP result file.

    Args:
      models: folder of the meshes. names: of the objects, numbered as in the poses.csv of a run.
    """
    from storm_core.bop.dataset import object_ids
    from storm_core.bop.results import read_predictions
    from storm_core.report.run import numbered
    from storm_core.types import Evidence, Registration

    numbers = numbered(object_ids(models, names), names)
    best = {
        ((e.scene_id, e.im_id), e.obj_id): e.cam_from_obj
        for e in sorted(read_predictions(file), key=lambda e: e.score)
    }

    def start(key: Key, name: str, frame: "Frame") -> "Registration | None":
        pose = best.get((key, numbers[name]))
        if pose is None:
            return None
        return Registration(
            object_name=name,
            stamp_ns=frame.stamp_ns,
            cam_from_obj=pose,
            covariance=np.eye(6) * 1e-4,
            probability=0.5,
            evidence=Evidence(),
        )

    return start


def search_start(config: "StormConfig", models: "dict[str, ObjectModel]") -> "Start":
    """Starts at what a fresh search in each image finds; says on stderr what it did not find."""
    from storm_core.pipeline.build import build_localizer, build_registrar
    from storm_core.types import Hint, Localization, Registration

    localizer, registrar = build_localizer(config, models), build_registrar(config, models)

    def start(key: Key, name: str, frame: "Frame") -> "Registration | None":
        found = localizer.localize(frame, name, Hint())
        result = registrar.register(frame, found) if isinstance(found, Localization) else found
        if isinstance(result, Registration):
            return result
        print(f"image {key[0]}/{key[1]}: {name} not found ({result.reason.value})", file=sys.stderr)
        return None

    return start
