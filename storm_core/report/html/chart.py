"""Plots that take the page's colours and fonts: matplotlib draws SVG whose colours become CSS variables."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from storm_core.report.html.markup import anchor, escape
from storm_core.report.html.theme import LIGHT

COLUMNS = 500
"""Longer series are drawn by the smallest and the largest value of each of so many pieces."""

_NAMES = sorted(LIGHT)
_HEX = {name: f"#0f0{k:03x}" for k, name in enumerate(_NAMES)}
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "storm", "font.size": 9.5, "axes.spines.top": False,
             "axes.spines.right": False, "axes.linewidth": 0.7, "axes.facecolor": "none", "legend.frameon": False}


def color(name: str) -> str:
    """The stand-in for a colour of the page; `inline_svg` turns it into the CSS variable."""
    return _HEX[name]


@contextmanager
def drawing(width: float, height: float, rows: int = 1, **options: Any) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of `rows` axes in the page's style. width, height: [in], 72 px each at full size."""
    ink, muted, line = color("ink"), color("muted"), color("line")
    settings = _SETTINGS | {"text.color": ink, "axes.labelcolor": muted, "xtick.color": muted, "ytick.color": muted,
                            "axes.edgecolor": line, "grid.color": line}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        axes = figure.subplots(rows, 1, squeeze=False, **options)[:, 0]
        for axis in axes:
            axis.grid(True, lw=0.6)
            axis.set_axisbelow(True)
            axis.tick_params(length=0)
        yield figure, list(axes)


def inline_svg(figure: Figure, alt: str) -> str:
    """The figure as an SVG element of the page. alt: what it shows, also makes its ids unique in the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    text = re.sub(r"^<svg[^>]*>", f'<svg role="img" aria-label="{escape(alt)}" viewBox="{box[1]}">', text)
    text = text.replace("xlink:href=", "href=")
    prefix = anchor(alt)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{prefix}-", text)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", text)
    text = re.sub(r"#0f0[0-9a-f]{3}", lambda m: f"var(--{_NAMES[int(m[0][4:], 16)]})", text)
    text = re.sub(r' (?:d|x|y)="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]).replace("\n", ""), text)
    return re.sub(r">\s+<", "><", text).strip()


def chart(figure: Figure, alt: str, caption: str, *, wide: bool = False) -> str:
    """A figure with its caption. wide: keeps a readable width on a phone and scrolls by itself."""
    return (f'<figure class="chart{" wide" if wide else ""}"><div class="scroll">{inline_svg(figure, alt)}</div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def plain_log(axis: Axes, which: str) -> None:
    """A logarithmic x or y axis labelled 0.1, 1, 10; where it spans less than two decades, also 2 and 5."""
    axis.set(**{f"{which}scale": "log"})
    low, high = axis.get_xlim() if which == "x" else axis.get_ylim()
    wanted = axis.xaxis if which == "x" else axis.yaxis
    wanted.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
    wanted.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    wanted.set_minor_formatter(NullFormatter())


def extremes(values: NDArray[np.float64], columns: int = COLUMNS) -> NDArray[np.int64]:
    """Indices (rising) that draw a series (N,) without losing a spike or a gap.

    Of each piece the first smallest, the first largest and the first missing (nan) value stay.
    """
    n = len(values)
    if n <= 3 * columns:
        return np.arange(n)
    size = -(-n // columns)
    pieces = np.full(-(-n // size) * size, np.nan)
    pieces[:n] = values
    pieces = pieces.reshape(-1, size)
    missing = np.isnan(pieces)
    picks = np.stack([np.where(missing, np.inf, pieces).argmin(1), np.where(missing, -np.inf, pieces).argmax(1),
                      missing.argmax(1)], axis=1)
    kept = np.unique(picks + size * np.arange(len(pieces))[:, None])
    return kept[kept < n]


def runs(labels: list[str]) -> list[tuple[int, int, str]]:
    """(first, one after the last, label) of each stretch of equal labels."""
    starts = [k for k, label in enumerate(labels) if k == 0 or label != labels[k - 1]]
    return [(a, b, labels[a]) for a, b in pairwise([*starts, len(labels)])]
