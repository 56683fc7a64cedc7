"""What `storm register` and `storm segment` share: options and the choice of images."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from storm_core.cli.arguments import add_config_seed, add_json, add_models
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.types import Frame

Key = tuple[int, int]


def add_picture_options(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """optional: the recording may be left out, because the command has another input."""
    parser.add_argument("recording", metavar="PATH", nargs="?" if optional else None, default="",
                        help="BOP scene or dataset, bag, or folder with rgb/, depth/, camera.json")
    add_models(parser)
    add_json(parser)
    add_config_seed(parser)
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
        # Only these are decoded: a damaged image that nobody asked for must not cost what was found in others.
        for index, frame in zip(wanted, recording.frames(set(wanted)), strict=True):
            yield index, recording.ids[index], frame
            bar.update()
