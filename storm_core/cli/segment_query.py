"""`storm segment --query`: one picture file, any meshes or folders of reference views, every instance of each."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.interfaces import Localizer
    from storm_core.onboarding.views import ReferenceViews
    from storm_core.types import Frame

NOMINAL_FOCAL = 1.1
"""Focal length over image width of a picture whose camera is unknown; serves only where nothing is measured with it."""


def add_query_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--query", metavar="IMAGE", default="", help="one colour picture instead of a recording")
    parser.add_argument("--depth", metavar="IMAGE", default="",
                        help="its depth image, 16-bit or float, aligned with colour (unit: depth_scale of --camera)")
    parser.add_argument("--camera", metavar="FILE", default="",
                        help="camera.json with cam_K or fx, fy, cx, cy [px] and depth_scale [mm per count], or a "
                             "scene_camera.json that has the picture's number")
    parser.add_argument("--object", nargs="+", metavar="MESH|VIEWS", default=[],
                        help="mesh files, or folders of `storm render views`")
    parser.add_argument("--sam", nargs="?", metavar="NAME", const="sam2-tiny", default="",
                        help="refine masks with SAM 2: a name of `storm weights list`, a folder or a .pt file "
                             "(without NAME: sam2-tiny)")


def with_sam(config: "StormConfig", name: str) -> "StormConfig":
    return replace(config, som=replace(config.som, sam=name)) if name else config


def run_query(args: argparse.Namespace) -> int:
    import json
    import time

    import cv2
    import numpy as np
    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.bags.recording import fingerprint
    from storm_core.bop.mask_results import MaskEstimate, run_lengths, write_mask_results
    from storm_core.cli.arguments import config_from
    from storm_core.cli.columns import aligned
    from storm_core.cli.mesh_options import number_of
    from storm_core.config_io import to_yaml
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.file_names import file_stems
    from storm_core.report.masks import tint
    from storm_core.report.results import results_head, stage_times, to_json
    from storm_core.som.several import localize_all
    from storm_core.types import Hint, NotFound, Reason

    config = with_sam(config_from(args), args.sam)
    if args.recording or args.models:
        raise ConfigError("--query takes one picture and --object; remove the recording and --models")
    if not args.object:
        raise ConfigError("--query needs --object MESH or a folder of `storm render views`")
    frame = read_query(Path(args.query), args.depth, args.camera, needs_depth=config.som.backend == "geometric")
    names, localizer = _localizer(args, config)
    stems = file_stems(names)
    answers: list[dict[str, Any]] = []
    estimates: list[MaskEstimate] = []
    shown, times = [], []
    for position, name in enumerate(tqdm(names, unit="object", disable=None), 1):
        begin = time.perf_counter()
        found = localize_all(localizer, frame, name, Hint())
        spent = (time.perf_counter() - begin) * 1e3
        times.append({"localize": spent, "total": spent})
        common = {"object": name, "obj_id": number_of(name, position), "stage_ms": times[-1]}
        if isinstance(found, NotFound):
            answers.append({**common, "found": False, "instance": None, "reason": found.reason.value,
                            "detail": found.detail, "probability": found.probability, "mask": None})
            continue
        for instance, answer in enumerate(found):
            sure = answer.probability >= config.som.accept
            file = f"{stems[name]}_{instance}.png" if sure else None
            answers.append({**common, "found": sure, "instance": instance, "probability": float(answer.probability),
                            "reason": (Reason.FOUND if sure else Reason.UNCERTAIN).value, "detail": "", "mask": file,
                            "px": int(answer.mask.sum())})
            estimates.append(MaskEstimate(scene_id=0, im_id=0, obj_id=common["obj_id"], score=answer.probability,
                                          size=frame.depth.shape, counts=run_lengths(answer.mask),
                                          time_s=spent * 1e-3))
            if sure:
                shown.append((file, f"{name}#{instance} p={answer.probability:.2f}", answer.mask))
    query = Path(args.query)
    out = Path(args.out or Path("results") / f"segment_{query.stem}")
    results = results_head("segment", __version__, path=query, frames=1, seed=config.seed,
                           sha256=fingerprint(query, [query]))
    results |= {"backend": config.som.backend, "sam": config.som.sam or None, "answers": answers,
                "stages_ms": stage_times(times)}
    with whole_folder(out) as folder:
        for file, _, mask in shown:
            cv2.imwrite(str(folder / file), mask.astype(np.uint8) * 255)
        cv2.imwrite(str(folder / "overlay.png"), np.ascontiguousarray(
            tint(frame.rgb, [(label, mask) for _, label, mask in shown])[..., ::-1]))
        write_mask_results(folder / "masks.json", estimates)
        (folder / "results.json").write_text(to_json(results))
        (folder / "config.yaml").write_text(to_yaml(config))
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps(json.loads(to_json(results)), indent=2) + "\n")
    rows = [("object", "instance", "found", "p", "ms", "reason")]
    rows += [(a["object"], "-" if a["instance"] is None else str(a["instance"]), "yes" if a["found"] else "no",
              f"{a['probability']:.2f}", f"{a['stage_ms']['localize']:.0f}",
              " ".join(t for t in (a["reason"], a["detail"]) if t)) for a in answers]
    print(aligned(rows, left=range(6)) + f"\n\nmasks, overlay and results in {out}")
    return 0


def read_query(picture: Path, depth: str, camera: str, *, needs_depth: bool) -> "Frame":
    """The frame of a picture file; depth is all zeros (not measured) when there is none.

    Raises:
      ConfigError: depth or camera is needed and not given.
      DatasetError: a file is missing, damaged, or they do not fit together.
    """
    import cv2
    import numpy as np

    from storm_core.bags.folder import read_frame
    from storm_core.bop.cameras import parse_camera
    from storm_core.geometry.camera import PinholeCamera
    from storm_core.types import Frame

    if needs_depth and not depth:
        raise ConfigError("the geometric backend needs --depth IMAGE; only som.backend hsfa works on colour alone")
    if depth and not camera:
        raise ConfigError("--depth needs --camera FILE, a camera.json with cam_K [px] and depth_scale [mm per count]")
    for file in (picture, *(Path(p) for p in (depth, camera) if p)):
        if not file.is_file():
            raise DatasetError(f"{file} does not exist")
    entry = parse_camera(_camera_of(picture, Path(camera)), camera) if camera else None
    if depth and entry is not None:
        return read_frame(picture, Path(depth), entry, 1)
    pixels = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DatasetError(f"{picture} cannot be decoded; the image is damaged or no image")
    height, width = pixels.shape[:2]
    focal = NOMINAL_FOCAL * width
    known = PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    if entry is not None:
        known = entry.color_camera(width, height)
    return Frame(rgb=np.ascontiguousarray(pixels[..., ::-1]), depth=np.zeros((height, width), np.float32),
                 camera=known, stamp_ns=1)


def _camera_of(picture: Path, file: Path) -> Any:
    """The camera in a file itself, or the picture's entry of a scene_camera.json, whose keys are image numbers."""
    from storm_core.bop.cameras import by_number, read_json

    content = read_json(file, "the intrinsics")
    if not isinstance(content, dict) or not picture.stem.isdigit():
        return content
    return by_number(content, file).get(int(picture.stem), content)


def _localizer(args: argparse.Namespace, config: "StormConfig") -> "tuple[list[str], Localizer]":
    """Names of the wanted objects in order, and what finds them."""
    from storm_core.bop.view_folder import INDEX, read_views
    from storm_core.geometry.mesh_io import load_models
    from storm_core.onboarding.views import reference_views
    from storm_core.pipeline.build import build_localizer, build_view_localizer

    models: dict[str, ObjectModel] = {}
    views: dict[str, ReferenceViews] = {}
    for place in map(Path, args.object):
        if (place / INDEX).is_file():
            known: dict[str, Any] = views
            seen = read_views(place)
            new: dict[str, Any] = {seen.object_name: seen}
        else:
            known = models
            new = load_models(place, unit=config.mesh_unit, max_faces=config.onboarding.max_faces)
        for name, value in new.items():
            if name in models or name in views:
                raise ConfigError(f"{place}: there is another object named {name!r}; give each object once")
            known[name] = value
    if not views:
        return list(models), build_localizer(config, models)
    # One localizer for all: the views of meshes are rendered where others come from a folder.
    rendered = {name: reference_views(model, config.onboarding) for name, model in models.items()}
    return [*models, *views], build_view_localizer(config, rendered | views)
