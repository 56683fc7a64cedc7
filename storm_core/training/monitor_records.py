"""Records of labelled poses on disk: one .npz per scene, made when missing, so that an interrupted run goes on."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from storm_core.errors import DatasetError
from storm_core.report.atomic import whole_file
from storm_core.training.monitor_scenes import Records, records_of_scene


def write_records(folder: Path, split: str, seed: int, scenes: int, *, workers: int = 1, progress: bool = True) -> None:
    """Make the records of the first `scenes` scenes of a split that are not in `folder` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [k for k in range(scenes) if not records_file(folder, split, seed, k).is_file()]
    write = partial(_write_scene, folder, split, seed)
    with tqdm(total=len(missing), desc=f"{split} scenes", disable=not progress, unit="scene") as bar:
        if workers <= 1:
            for k in missing:
                write(k)
                bar.update()
            return
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for _ in pool.map(write, missing):
                bar.update()


def read_records(folder: Path, split: str, seed: int, scenes: int) -> Records:
    """All records of the first `scenes` scenes as one.

    Raises:
      DatasetError: a file is missing or damaged.
    """
    parts = list(_read(folder, split, seed, scenes))
    return Records(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Records)})


def _read(folder: Path, split: str, seed: int, scenes: int) -> Iterator[Records]:
    for k in range(scenes):
        file = records_file(folder, split, seed, k)
        try:
            with np.load(file, allow_pickle=False) as archive:
                yield Records(**{name: archive[name] for name in archive.files})
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise DatasetError(f"{file} holds no records of the monitor's training ({error}); remove it and start "
                               "again: it is made anew") from error


def _write_scene(folder: Path, split: str, seed: int, number: int) -> None:
    records = records_of_scene(split, seed, number)
    with whole_file(records_file(folder, split, seed, number)) as path, path.open("wb") as file:
        np.savez(file, **{f.name: getattr(records, f.name) for f in fields(Records)})


def records_file(folder: Path, split: str, seed: int, number: int) -> Path:
    """Where the records of a scene are kept."""
    return folder / f"{split}_{seed}_{number:05d}.npz"
