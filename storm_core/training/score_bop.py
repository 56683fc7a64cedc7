"""Training batches from real or rendered images in BOP format: windows around annotated instances.

Images that a block's train_idxs.txt lists train, those of test_idxs.txt validate, see `split_images`.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.bags.folder import require_one_split, scene_folders
from storm_core.bop.dataset import Annotation, read_annotations
from storm_core.bop.index_lists import split_images
from storm_core.bop.views import SceneViews
from storm_core.bop.visible_mask import mask_file, read_visible_mask
from storm_core.errors import DatasetError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import load_models
from storm_core.simulation.mask_noise import disturbed_mask
from storm_core.training.score_batches import Batch, batch_of, seen_view
from storm_core.training.score_config import DataArguments, ScoreTraining
from storm_core.training.score_scenes import View
from storm_core.training.score_source import FIRST_VALIDATION

MAX_FACES = 2000
MARGIN = 0.35
"""Window beyond the box of the mask, in its sizes."""

TRIES = 200


@dataclass(frozen=True)
class Instance:
    """One annotated instance: its block, image, place among the annotations, and truth."""

    block: Path
    im_id: int
    number: int
    annotation: Annotation


@dataclass(frozen=True)
class BopSource:
    """Numbered batches of a BOP dataset."""

    config: ScoreTraining

    @property
    def validation(self) -> int:
        return min(self.config.data.validation, len(self._parts[1]))

    def batch(self, number: int) -> Batch:
        c = self.config
        rng = np.random.default_rng([c.training.seed, number])
        instances = self._parts[int(number >= FIRST_VALIDATION)]
        views = []
        for _ in range(TRIES * c.training.views):
            if len(views) == c.training.views:
                return batch_of(views, c.training.draws, c.model.network, c.model.schedule, rng)
            view = self._view(instances[rng.integers(len(instances))], rng)
            seen = None if view is None else seen_view(view, c.model.network, rng)
            views += [] if seen is None else [seen]
        raise DatasetError(f"{c.data.path}: hardly any mask has measured depth; are depth images and masks of one size "
                           "and depth_scale right?")

    @cached_property
    def _parts(self) -> tuple[list[Instance], list[Instance]]:
        """Instances that train, and those that validate."""
        data = self.config.data
        wanted = {int(i) for i in data.object_ids}
        train: list[Instance] = []
        held_out: list[Instance] = []
        for block in blocks_of(Path(data.path).expanduser(), data.blocks):
            annotations = read_annotations(block)
            for split, instances in (("train", train), ("test", held_out)):
                instances += [Instance(block, im_id, number, a)
                              for im_id in sorted(split_images(block, annotations, split))
                              for number, a in enumerate(annotations[im_id])
                              if (not wanted or a.obj_id in wanted) and not a.visible < data.min_visible]
        if not train:
            raise DatasetError(f"{data.path} has no instance to train on (blocks {list(data.blocks) or 'all'}, objects "
                               f"{sorted(wanted) or 'all'}, at least {data.min_visible:g} visible)")
        return train, held_out

    @cached_property
    def _models(self) -> dict[str, ObjectModel]:
        return load_models(str(models_folder(self.config.data)), max_faces=MAX_FACES)

    def _view(self, instance: Instance, rng: np.random.Generator) -> View | None:
        a = instance.annotation
        mask = _mask(instance.block, instance.im_id, instance.number)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return None
        views = _views(instance.block)
        depth = _depth(instance.block, instance.im_id)
        if mask.shape != depth.shape:
            file = mask_file(instance.block, instance.im_id, instance.number)
            raise DatasetError(f"{file} is {mask.shape[1]}x{mask.shape[0]}, the depth image {depth.shape[1]}x"
                               f"{depth.shape[0]}; masks and depth must be pictures of one camera")
        margin = int(MARGIN * max(np.ptp(rows), np.ptp(columns))) + 4
        y0, y1 = max(rows[0] - margin, 0), min(rows[-1] + margin + 1, mask.shape[0])
        x0, x1 = max(columns[0] - margin, 0), min(columns[-1] + margin + 1, mask.shape[1])
        part = mask[y0:y1, x0:x1]
        name = str(a.obj_id)
        if name not in self._models:
            raise DatasetError(f"{models_folder(self.config.data)} has no mesh of object {name}; set data.models or "
                               "data.object_ids")
        return View(depth=depth[y0:y1, x0:x1], mask=disturbed_mask(part, rng, self.config.data.mask_noise),
                    true_mask=part, cam_from_obj=a.cam_from_obj, model=self._models[name],
                    camera=views.camera(instance.im_id).crop(x0, y0, 1.0, x1 - x0, y1 - y0))


def blocks_of(root: Path, names: tuple[str, ...]) -> list[Path]:
    """The block folders of a dataset, split or block.

    Raises:
      DatasetError: there are none, not the named ones, or several splits.
    """
    require_one_split(root, "data.path=")
    found = scene_folders(root) if root.is_dir() else []
    if not found:
        raise DatasetError(f"{root} holds no block folder such as 000001 with scene_gt.json; set data.path to a BOP "
                           "dataset or split")
    if not names:
        return found
    by_name = {int(block.name): block for block in found if block.name.isdigit()}
    for name in names:
        if not name.isdigit() or int(name) not in by_name:
            raise DatasetError(f"{root} has no block {name}; it has {', '.join(b.name for b in found)}")
    return [by_name[int(name)] for name in names]


def models_folder(data: DataArguments) -> Path:
    """data.models, or models/ or models_eval/ at or above data.path."""
    if data.models:
        return Path(data.models).expanduser()
    root = Path(data.path).expanduser().resolve()
    places = [base / name for base in (root, *list(root.parents)[:2]) for name in ("models", "models_eval")]
    return next((place for place in places if place.is_dir()), places[0])


@lru_cache(maxsize=64)
def _views(block: Path) -> SceneViews:
    return SceneViews(block)


@lru_cache(maxsize=256)
def _depth(block: Path, im_id: int) -> NDArray[np.float32]:
    return _views(block).depth(im_id)


@lru_cache(maxsize=4096)
def _mask(block: Path, im_id: int, number: int) -> NDArray[np.bool_]:
    return read_visible_mask(block, im_id, number)
