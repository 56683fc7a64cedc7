"""Pictures with the masks of the objects in them: from BOP splits."""

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.bags.folder import require_one_split, scene_folders
from storm_core.bop.dataset import read_annotations
from storm_core.config import OnboardingConfig
from storm_core.errors import DatasetError
from storm_core.evaluation.images import read_image, scene_images
from storm_core.geometry.chirality import achiral
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import load_models
from storm_core.onboarding.views import ReferenceViews, reference_views
from storm_core.types import Frame

Masks = Mapping[str, NDArray[np.bool_]]
"""Object key -> (H, W) visible pixels of all its instances together."""


class Source(Protocol):
    """Pictures and objects. The same key in two sources is the same object.

    Attributes:
      keys: its objects. shown: for each picture the objects that can be asked for.
      present: for each picture all objects that are in it, however hidden: none of them is absent.
    """

    keys: tuple[str, ...]
    shown: list[frozenset[str]]
    present: list[frozenset[str]]

    def views(self, key: str) -> ReferenceViews: ...

    def may_mirror(self, key: str) -> bool:
        """Pictures of the object may be mirrored, because it equals its mirror image."""
        ...

    def picture(self, index: int) -> tuple[Frame, Masks]: ...


class BopSource:
    """A split of a BOP dataset; see `Source`. Meshes come from the `models` folder beside it."""

    def __init__(self, split: Path, onboarding: OnboardingConfig, min_visible: float) -> None:
        """Raises:
        DatasetError: no scenes, no ground truth or no models folder there.
        MeshError: an annotated object has no mesh.
        """
        require_one_split(split, "--bop ")
        scenes = scene_folders(split)
        root = next((p for p in (split, *split.resolve().parents[:2]) if (p / "models").is_dir()), None)
        if root is None:
            raise DatasetError(f"{split} has no models folder beside it; training needs the meshes of its objects")
        name = root.resolve().name
        self._images, self._annotations = [], []
        self.shown, self.present = [], []
        ids: set[int] = set()
        for scene in scenes:
            truth = read_annotations(scene)
            for image in scene_images(scene, truth):
                annotations = truth[image.im_id]
                ids |= {a.obj_id for a in annotations}
                self._images.append(image)
                self._annotations.append(annotations)
                self.present.append(frozenset(f"{name}/{a.obj_id}" for a in annotations))
                # Written so that an unknown visible share (nan) counts as visible.
                self.shown.append(frozenset(f"{name}/{a.obj_id}" for a in annotations
                                            if not a.visible < min_visible))
        models = load_models(root / "models", [str(i) for i in sorted(ids)], max_faces=onboarding.max_faces)
        self._models: dict[str, ObjectModel] = {f"{name}/{i}": m for i, m in models.items()}
        self._onboarding = onboarding
        self.keys = tuple(self._models)

    @lru_cache(maxsize=256)  # noqa: B019  the source lives as long as the process
    def views(self, key: str) -> ReferenceViews:
        return reference_views(self._models[key], self._onboarding)

    @cache  # noqa: B019
    def may_mirror(self, key: str) -> bool:
        return achiral(self._models[key])

    def picture(self, index: int) -> tuple[Frame, Masks]:
        image = self._images[index]
        frame = read_image(image)
        masks: dict[str, NDArray[np.bool_]] = {}
        name = self.keys[0].split("/")[0]
        for k, a in enumerate(self._annotations[index]):
            file = Path(image.folder) / "mask_visib" / f"{image.im_id:06d}_{k:06d}.png"
            pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            if pixels is None or pixels.shape != frame.depth.shape:
                raise DatasetError(f"{file} is missing, damaged or of another size than its picture; training needs "
                                   "visible masks")
            key = f"{name}/{a.obj_id}"
            masks[key] = masks.get(key, np.zeros(pixels.shape, bool)) | (pixels > 0)
        return frame, masks
