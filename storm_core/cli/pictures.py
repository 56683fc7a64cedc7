"""What `storm register` and `storm segment` share: options, choice of images, one fresh search per image."""

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from storm_core.cli.arguments import add_json, add_models, add_seed
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.interfaces import Localizer, Registrar
    from storm_core.report.attempts import Attempt
    from storm_core.types import Frame

Key = tuple[int, int]


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recording", metavar="PATH",
                        help="BOP scene or dataset, bag, or folder with rgb/, depth/, camera.json")
    add_models(parser)
    add_json(parser)
    add_seed(parser)
    parser.add_argument("--images", nargs="+", type=int, metavar="ID", default=[],
                        help="image ids (default: all; bags count frames from 0)")
    parser.add_argument("--scene", type=int, metavar="ID", default=None, help="the one scene to read (default: all)")
    parser.add_argument("--out", metavar="DIR", default="", help="folder of the results (default: results/<recording>)")
    parser.add_argument("--truth", choices=("auto", "none"), default="auto",
                        help="auto: compare with ground truth if there is any; none: never look for it (default: auto)")
    parser.add_argument("--ignore", nargs="+", metavar="IMAGE:OBJECT", default=[],
                        help="in the picture but not annotated: finding it is no false accept")


def ignored(texts: Sequence[str], keys: Sequence[Key]) -> set[tuple[Key, str]]:
    """{((scene_id, im_id), object name)} from IMAGE:OBJECT texts; an image id stands for all scenes that have it."""
    out: set[tuple[Key, str]] = set()
    for text in texts:
        image, colon, name = text.partition(":")
        if not colon or not image.isdigit() or not name:
            raise ConfigError(f"--ignore needs IMAGE:OBJECT such as 2:15, got {text!r}")
        out |= {(key, name) for key in keys if key[1] == int(image)}
    return out


def chosen_frames(recording: "Recording", images: Sequence[int]) -> "Iterator[tuple[int, Key, Frame]]":
    """(index in the recording, (scene_id, im_id), frame) of the chosen images, with a progress bar.

    Raises:
      DatasetError: an image is not in the recording.
    """
    from tqdm import tqdm

    known = {im_id for _, im_id in recording.ids}
    lacking = [i for i in images if i not in known]
    if lacking:
        shown = ", ".join(str(i) for i in sorted(known)[:10]) + (", ..." if len(known) > 10 else "")
        raise DatasetError(f"image {lacking[0]} is not in {recording.path}; it has {shown}")
    wanted = [k for k, key in enumerate(recording.ids) if not images or key[1] in images]
    with tqdm(total=len(wanted), unit="image", disable=None) as bar:
        for index, frame in enumerate(recording.frames()):
            if index in wanted:
                yield index, recording.ids[index], frame
                bar.update()


def attempt(frame: "Frame", key: Key, name: str, localizer: "Localizer", registrar: "Registrar | None",
            accept: float = 0.0) -> "Attempt":
    """Search one object in one image without knowing any other; register it too when there is a registrar.

    Args:
      accept: without a registrar, the probability from which a localization counts as found.
    """
    from storm_core.report.attempts import Attempt
    from storm_core.types import Hint, NotFound, Reason, Registration

    begin = time.perf_counter()
    found = localizer.localize(frame, name, Hint())
    stage_ms = {"localize": (time.perf_counter() - begin) * 1e3, "total": (time.perf_counter() - begin) * 1e3}
    if isinstance(found, NotFound):
        return Attempt(key=key, object_name=name, found=False, reason=found.reason.value, detail=found.detail,
                       probability=found.probability, cam_from_obj=None, mask=None, stage_ms=stage_ms)
    if registrar is None:
        sure = found.probability >= accept
        return Attempt(key=key, object_name=name, found=sure, cam_from_obj=None, mask=found.mask if sure else None,
                       reason=(Reason.FOUND if sure else Reason.UNCERTAIN).value, detail="",
                       probability=found.probability, stage_ms=stage_ms)
    registered_at = time.perf_counter()
    result = registrar.register(frame, found)
    stage_ms["register"] = (time.perf_counter() - registered_at) * 1e3
    stage_ms["total"] = (time.perf_counter() - begin) * 1e3
    ok = isinstance(result, Registration)
    return Attempt(key=key, object_name=name, found=ok, mask=found.mask, stage_ms=stage_ms,
                   reason=Reason.REGISTERED.value if ok else result.reason.value, detail="" if ok else result.detail,
                   probability=result.probability, cam_from_obj=result.cam_from_obj if ok else None)
