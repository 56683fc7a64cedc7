"""Recall and time of the score model over its number of steps, as one picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHOWN = ("random", "latent", "fitness", "explained", "learned", "combined", "oracle")


def plot_steps(file: Path, runs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """PNG. runs: masks -> steps -> figures, as `storm evaluate score` writes them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    accuracy, cost = figure.subplots(1, 2)
    for k, (masks, by_steps) in enumerate(runs.items()):
        steps = sorted(by_steps, key=int)
        numbers = [int(n) for n in steps]
        for j, rule in enumerate(r for r in SHOWN if r in by_steps[steps[0]]["recall"]):
            accuracy.plot(numbers, [100 * by_steps[n]["recall"][rule] for n in steps], marker="o", color=f"C{j}",
                          linestyle=("-", "--", ":")[k % 3], label=f"{rule}, {masks} masks")
        cost.plot(numbers, [by_steps[n]["ms_p50"] for n in steps], marker="o", label=f"{masks} masks")
    accuracy.set(xscale="log", xlabel="steps", ylabel="ADD(-S) < 0.1 d [%]")
    cost.set(xscale="log", yscale="log", xlabel="steps", ylabel="time per target [ms]")
    for axes in (accuracy, cost):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    figure.savefig(file, format="png", dpi=100)
