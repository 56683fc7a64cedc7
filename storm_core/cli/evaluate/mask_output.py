"""What `storm evaluate masks` shows: a table, the worst pictures, a contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.columns import aligned, cell

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from storm_core.bop.mask_results import MaskEstimate
    from storm_core.evaluation.dataset import Dataset
    from storm_core.evaluation.images import ImageFiles
    from storm_core.evaluation.masks import Questions
    from storm_core.report.attempts import Key
    from storm_core.report.mask_table import JudgedImage

PICTURES, SHEET = 9, 24
"""Pictures of the report, and of the contact sheet."""


def mask_summary(results: Mapping[str, Any]) -> str:
    """The figures by object and over all, half visible targets, presence, and times."""
    columns = {"targets": "targets", "found": "found", "mean IoU": "iou_mean", "AP (BOP)": "ap_bop",
               "AP (STORM)": "ap_storm", "false": "false_accepts"}
    masks = results["masks"]
    every = {**masks, "targets": masks["n"], "found": sum(f["found"] for f in results["objects"].values())}
    rows = [("object", *columns)] + [(name, *(cell(f[key]) for key in columns.values()))
                                     for name, f in [*results["objects"].items(), ("all", every)]]
    lines = [aligned(rows)]
    if masks["ci95"]:
        lines.append("95 % intervals: " + ", ".join(f"{title} {_bounds(masks['ci95'][key])}"
                                                    for title, key in columns.items() if key in masks["ci95"]))
    if masks["presence_known"]:
        lines.append("AP (BOP) here knows which objects are in the picture; --all-objects measures without that")
    half = masks["half_visible"]
    if half["n"]:
        lines.append(f"of {half['n']} targets at least half visible: " + ", ".join(
            f"{title} {half[key]:.1%}{_of(half, key)}" for key, title in (
                ("iou_75", "IoU from 0.75"), ("adds_01d", "ADD-S below 0.1 diameter")) if key in half))
    for name, g in results.get("presence", {}).items():
        if g["absent"]:
            lines.append(f"{name} models: absent accepted {g['false_accept']:.1%} of {g['absent']}"
                         f"{_of(g, 'false_accept')}" + (f", present found with IoU from 0.75 {g['recall']:.1%} of "
                         f"{g['present']}{_of(g, 'recall')}, AUROC {g['auroc']:.3f}" if g["present"] else ""))
    for stage in ("localize", "register", "total"):
        if stage in results["stages_ms"]:
            q = results["stages_ms"][stage]
            lines.append(f"{stage} p50 {q['p50']:.0f} ms p95 {q['p95']:.0f} ms per object")
    return "\n".join(lines)


def _of(figures: Mapping[str, Any], key: str) -> str:
    bounds = figures.get("ci95", {}).get(key)
    return "" if bounds is None else f" [{bounds[0]:.1%}, {bounds[1]:.1%}]"


def _bounds(bounds: Sequence[float]) -> str:
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def worst_pictures(dataset: "Dataset", estimates: "Sequence[MaskEstimate]", judged: "Sequence[JudgedImage]",
                   accept: float) -> "list[tuple[str, NDArray[np.uint8]]]":
    """(caption, tinted image) of the images with the worst IoU."""
    worst: dict[Key, float] = {}
    for j in judged:
        for iou in j.ious:
            worst[j.key] = min(worst.get(j.key, 1.0), iou)
    by_key = {image.key: image for image in dataset.images}
    out = []
    for key in sorted(worst, key=lambda k: worst[k])[:PICTURES]:
        image = _painted(by_key[key], dataset, estimates, accept, None)
        if image is not None:
            out.append((f"scene {key[0]} image {key[1]}, worst IoU {worst[key]:.2f}", image))
    return out


def write_contact_sheet(file: Path, dataset: "Dataset", estimates: "Sequence[MaskEstimate]", accept: float,
                        asked: "Questions | None") -> None:
    """At most SHEET evenly chosen images: accepted masks tinted, truth outlined in white. None can be read: no file."""
    import cv2
    import numpy as np

    from storm_core.report.overlay import contact_sheet

    chosen = np.unique(np.linspace(0, len(dataset.images) - 1, min(SHEET, len(dataset.images))).round().astype(int))
    painted = [_painted(dataset.images[k], dataset, estimates, accept, asked) for k in chosen]
    tiles = [image for image in painted if image is not None]
    if tiles:
        cv2.imwrite(str(file), contact_sheet(tiles, columns=4, width=360)[..., ::-1])


def _painted(image: "ImageFiles", dataset: "Dataset", estimates: "Sequence[MaskEstimate]", accept: float,
             asked: "Questions | None") -> "NDArray[np.uint8] | None":
    """The image with the accepted masks, and the true ones of what was asked for; None if it cannot be read."""
    from storm_core.bop.visible_mask import read_visible_mask
    from storm_core.errors import DatasetError
    from storm_core.evaluation.images import read_image
    from storm_core.report.masks import outlined, tint

    shown = [(f"{e.obj_id} p={e.score:.2f}", e.mask()) for e in estimates
             if (e.scene_id, e.im_id) == image.key and e.score >= accept and any(e.counts[1::2])]
    here = dataset.annotations[image.scene_id].get(image.im_id, ())
    wanted = {str(a.obj_id) for a in here} if asked is None else asked[image.key]
    truths = []
    try:
        frame = read_image(image)
        truths = [read_visible_mask(Path(image.folder), image.im_id, k) for k, a in enumerate(here)
                  if str(a.obj_id) in wanted]
    except DatasetError:
        return None
    return outlined(tint(frame.rgb, shown), truths)
