"""What of a BOP dataset is evaluated: scenes, targets, images and models, checked before any work starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from storm_core.bags.folder import scene_folders
from storm_core.bags.recording import fingerprint
from storm_core.bags.true_poses import VISIBLE_SHARE
from storm_core.bop.dataset import Annotation, object_ids, read_annotations, read_targets
from storm_core.errors import DatasetError
from storm_core.evaluation.images import ImageFiles, scene_images
from storm_core.geometry.mesh_read import SUFFIXES
from storm_core.report.pose_table import Target, find_targets


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """The evaluated part of a dataset.

    Attributes:
      models: folder of the meshes. scenes: folder of each scene.
      annotations: scene_id -> im_id -> annotated instances.
      targets: (scene_id, im_id, obj_id), one per instance to be found.
      images: the images that have targets, in the order of scene and image.
      left_out: images with targets that --max-images leaves out.
      stride: the scenes as sequences hold every so many-th of their images.
    """

    root: Path
    models: Path
    scenes: Mapping[int, Path]
    annotations: Mapping[int, Mapping[int, tuple[Annotation, ...]]]
    targets: tuple[Target, ...]
    images: tuple[ImageFiles, ...]
    left_out: int
    stride: int = 1

    def every(self, stride: int) -> "Dataset":
        """Every so many-th image of each scene, from its first one on, with the targets that are left."""
        kept = {image.key for folder in self.scenes.values() for image in scene_images(folder)[::stride]}
        return replace(self, stride=stride, images=tuple(image for image in self.images if image.key in kept),
                       targets=tuple(t for t in self.targets if t[:2] in kept))

    @property
    def names(self) -> tuple[str, ...]:
        """The wanted objects, named by their BOP ids."""
        return tuple(str(i) for i in sorted({obj_id for _, _, obj_id in self.targets}))

    @property
    def all_names(self) -> tuple[str, ...]:
        """Every object that has a mesh, named by its BOP id."""
        ids = {file.stem.removeprefix("obj_") for file in self.models.glob("obj_*.*")
               if file.suffix.lower() in SUFFIXES}
        return tuple(str(i) for i in sorted(int(i) for i in ids if i.isdigit()))

    @property
    def sha256(self) -> str:
        """Fingerprint of the evaluated images and of the ground truth."""
        files = [Path(f) for i in self.images for f in (i.rgb, i.depth) if f]
        return fingerprint(self.root, files + [s / n for s in self.scenes.values()
                                               for n in ("scene_gt.json", "scene_camera.json")])

    @property
    def covers_every_annotation(self) -> bool:
        """Every visible instance of the wanted objects in the evaluated images is a target."""
        wanted = {obj_id for _, _, obj_id in self.targets}
        annotated = [(*image.key, a.obj_id) for image in self.images
                     for a in self.annotations[image.scene_id].get(image.im_id, ())
                     if a.obj_id in wanted and not a.visible < VISIBLE_SHARE]
        return sorted(annotated) == sorted(self.targets)

    @cached_property
    def wanted(self) -> Mapping[tuple[int, int], Mapping[int, int]]:
        """(scene_id, im_id) -> {obj_id: instances to find}."""
        out: dict[tuple[int, int], dict[int, int]] = {}
        for scene_id, im_id, obj_id in self.targets:
            here = out.setdefault((scene_id, im_id), {})
            here[obj_id] = here.get(obj_id, 0) + 1
        return out


def open_dataset(root: Path, *, models: str = "", scenes: Sequence[int] = (), objects: Sequence[str] = (),
                 all_annotations: bool = False, max_images: int = 0) -> Dataset:
    """Read and check everything but the images.

    Args:
      models: folder of the meshes, empty = models/ of the dataset. scenes: ids, empty = all.
      objects: names or BOP ids, empty = all that are targets.
      all_annotations: every visible annotation is a target, even when the dataset lists its targets.
      max_images: stop after so many images with targets, 0 = all.

    Raises:
      DatasetError: a scene, its cameras or its annotations are missing or damaged, or nothing is left to evaluate.
    """
    if not root.is_dir():
        raise DatasetError(f"{root} is no folder; pass a BOP dataset, split or scene")
    folders = {int(s.name): s for s in scene_folders(root) if s.name.isdigit()}
    absent = [i for i in scenes if i not in folders]
    if absent or not folders:
        raise DatasetError(f"{root} has no scene {absent[0] if absent else 'with a number'}; it has "
                           f"{', '.join(map(str, folders)) or 'none'}")
    folders = {i: folder for i, folder in folders.items() if not scenes or i in scenes}
    listed = [] if all_annotations else read_targets(root)
    unknown = sorted({t[0] for t in listed} - set(folders)) if not scenes else []
    if unknown:
        raise DatasetError(f"the targets of {root} are in scene {unknown[0]}, which is not there; copy it, or choose "
                           "scenes with --scene")
    annotations = {i: read_annotations(folder) for i, folder in folders.items()}
    for folder in folders.values():
        scene_images(folder)  # an empty scene or a damaged list of cameras is an error of the dataset
    folder = Path(models).expanduser() if models else _models_of(root)
    targets = _chosen(find_targets(annotations, listed), folder, objects)
    places = sorted({t[:2] for t in targets})
    kept = places[:max_images] if max_images else places
    images = [image for i, scene in folders.items() if any(s == i for s, _ in kept)
              for image in scene_images(scene, [im_id for s, im_id in kept if s == i])]
    return Dataset(root=root, models=folder, scenes=folders, annotations=annotations, images=tuple(images),
                   targets=tuple(t for t in targets if t[:2] in set(kept)), left_out=len(places) - len(kept))


def _models_of(root: Path) -> Path:
    """models/ of the dataset that holds the folder; where it should be when there is none."""
    root = root.resolve()
    places = [base / "models" for base in (root, *list(root.parents)[:2])]
    return next((place for place in places if place.is_dir()), places[0])


def _chosen(targets: Sequence[Target], models: Path, objects: Sequence[str]) -> list[Target]:
    if not objects:
        return list(targets)
    ids = object_ids(models, objects)
    present = {t[2] for t in targets}
    for name in objects:
        if ids.get(name) not in present:
            raise DatasetError(f"object {name} is no target of the evaluated scenes; they have "
                               f"{', '.join(map(str, sorted(present)))}")
    wanted = {ids[name] for name in objects}
    return [t for t in targets if t[2] in wanted]
