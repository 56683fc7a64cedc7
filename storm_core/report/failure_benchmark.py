"""The failure benchmark as pictures and one page: ROC, reliability, latency, causes, the table of all monitors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.report.html.markup import escape, number, table
from storm_core.report.html.theme import POLICY, STYLE

COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("AUROC", "auroc", "ratio"), ("FPR at 99 % TPR", "fpr_at_tpr99", "share"),
    ("latency p50 [frames]", "latency_frames_p50", "number"), ("p95", "latency_frames_p95", "number"),
    ("noticed in 5", "detected_5", "share"), ("false alarms / 10k", "false_alarms_per_10k", "number"),
    ("false re-registrations / 20k", "false_reregistrations_per_20k", "number"),
    ("of those in view", "needless_reregistrations_per_20k", "number"), ("coverage", "coverage", "share"),
    ("wrong but trusted", "trusted_wrong", "share"), ("ECE", "ece", "share"))
"""Heading, key, kind of number."""

PICTURES = ("roc.png", "reliability.png", "latency.png", "causes.png")


def write_failure_report(folder: Path, results: Mapping[str, Any]) -> None:
    """report.html and the PICTURES of finished results (keys `monitors`, `input`, `benchmark`)."""
    monitors = results["monitors"]
    for name, draw in zip(PICTURES, (_roc, _reliability, _latency, _causes), strict=True):
        draw(monitors, folder / name)
    (folder / "report.html").write_text(_page(results, folder))


def rows_of(monitors: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row of text per monitor: its name and COLUMNS."""
    return [(escape(name), *(number(f[key], kind) for _, key, kind in COLUMNS)) for name, f in monitors.items()]


def _page(results: Mapping[str, Any], folder: Path) -> str:
    import cv2

    from storm_core.report.html.markup import jpeg

    head = ["", *(escape(title) for title, _, _ in COLUMNS)]
    causes = results["monitors"]["storm"]["causes"]
    what = ["frames", "failures", "missed", *(title for title, _, _ in COLUMNS)]
    by_cause = [(escape(cause), *(number(f[key], "count") for key in ("frames", "failures", "missed")),
                 *(number(f[key], kind) for _, key, kind in COLUMNS)) for cause, f in causes.items()]
    pictures = "".join(jpeg(cv2.imread(str(folder / name))[..., ::-1], name.removesuffix(".png")) for name in PICTURES)
    made = results["benchmark"]
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>Failure benchmark</title>'
            f"<style>{STYLE}</style></head><body><main><h1>Failure benchmark</h1>"
            f"<p>{escape(results['input']['path'])}: {made['scenes']} scenes, {made['plays']} plays, {made['frames']} "
            f"frames, poses from {escape(made['poses'])}. Protocol: docs/failure-benchmark.md. ∞: never noticed; –: "
            "cannot be said.</p><h2>Monitors</h2>" + table(head, rows_of(results["monitors"]))
            + "<h2>STORM by cause</h2>" + table(["", *what], by_cause)
            + f"<h2>Plots</h2>{pictures}</main></body></html>")


def _axes(file: Path, title: str, draw: Any) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set_title(title)
    axis.grid(True, lw=0.5, alpha=0.5)
    draw(axis)
    figure.savefig(file, metadata={"Software": None})


def _roc(monitors: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    def draw(axis: Any) -> None:
        for name, f in monitors.items():
            axis.plot(f["curves"]["fpr"], f["curves"]["tpr"], label=f"{name} ({number(f['auroc'], 'ratio')})")
        axis.set_xscale("symlog", linthresh=1e-3)
        axis.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="false positive rate", ylabel="true positive rate")
        axis.legend(fontsize=8)
    _axes(file, "Wrong poses found over false alarms, any threshold", draw)


def _reliability(monitors: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    def draw(axis: Any) -> None:
        axis.plot([0, 1], [0, 1], "k:", lw=1)
        for name, f in monitors.items():
            if "stated" in f["curves"]:
                axis.plot(f["curves"]["stated"], f["curves"]["observed"], "o-", ms=4,
                          label=f"{name} (ECE {number(f['ece'], 'share')})")
        axis.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="stated probability", ylabel="share of right poses")
        axis.legend(fontsize=8)
    _axes(file, "Reliability", draw)


def _latency(monitors: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    def draw(axis: Any) -> None:
        for name, f in monitors.items():
            late = np.array(f["curves"]["latency_frames"], float)
            if len(late):
                axis.step(*_noticed(late), where="post", label=f"{name} ({int(np.isinf(late).sum())} missed)")
        axis.set(xlabel="frames after the failure began", ylabel="share of failures noticed", ylim=(0, 1.01))
        axis.legend(fontsize=8)
    _axes(file, "Latency", draw)


def _noticed(late: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(frames, share of failures noticed until then)."""
    finite = late[np.isfinite(late)]
    frames = np.arange(0.0, max(10.0, finite.max() if len(finite) else 0.0) + 1)
    return frames, (late[None] <= frames[:, None]).mean(1)


def _causes(monitors: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    causes: Sequence[str] = [c for c, f in monitors["storm"]["causes"].items() if f["bad_frames"]]

    def draw(axis: Any) -> None:
        height = 0.8 / len(monitors)
        for i, (name, f) in enumerate(monitors.items()):
            shares = [f["causes"][c]["detected_5"] for c in causes]
            axis.barh(np.arange(len(causes)) + i * height, shares, height, label=name)
        axis.set_yticks(np.arange(len(causes)) + 0.4 - height / 2, causes)
        axis.invert_yaxis()
        axis.set(xlim=(0, 1), xlabel="share of failures noticed within 5 frames")
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    _axes(file, "By cause", draw)
