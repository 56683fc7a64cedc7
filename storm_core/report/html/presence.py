"""How often an object that is there is found, against how often one that is not there is accepted."""

from collections.abc import Mapping
from typing import Any

from matplotlib.ticker import PercentFormatter

from storm_core.report.html import markup
from storm_core.report.html.chart import chart, color, drawing

_SHADES = {"textured": "teal", "untextured": "orange", "all": "blue"}
_COLUMNS = {"recall": "found, right mask", "misplaced": "found elsewhere", "false_accept": "absent accepted"}


def presence(results: Mapping[str, Any]) -> str:
    """Curve and table; empty where nothing absent was asked for."""
    groups = {name: g for name, g in (results.get("presence") or {}).items() if g["absent"] and g["present"]}
    if not groups:
        return ""
    with drawing(5.6, 3.6) as (figure, (axis,)):
        for name, g in groups.items():
            curve = g["roc"]
            axis.plot([0.0, *curve["false_accept"]], [0.0, *curve["recall"]], drawstyle="steps-post", lw=1.6,
                      color=color(_SHADES[name]), label=name)
            axis.plot(g["false_accept"], g["recall"], "o", ms=5, color=color(_SHADES[name]))
        axis.set(xlabel="absent objects accepted", ylabel="present objects found, IoU from 0.75", xlim=(-0.01, 0.5),
                 ylim=(-0.03, 1.05))
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axis.legend(loc="lower right")
        drawn = chart(figure, "presence", "Found against falsely accepted at every threshold of the probability; dots: "
                      "the one that is used. Objects never found keep the curves below 100 %.")
    rows = [[name, markup.number(g["present"], "count"), markup.number(g["absent"], "count"),
             *(_cell(g, key) for key in _COLUMNS), markup.number(g["auroc"], "ratio")] for name, g in groups.items()]
    return drawn + markup.table(("models", "present", "absent", *_COLUMNS.values(), "AUROC"), rows, "figures")


def _cell(group: Mapping[str, Any], key: str) -> str:
    bounds = group.get("ci95", {}).get(key)
    return markup.number(group[key], "share") + ("" if bounds is None else (
        f'<br><span class="small">{markup.number(bounds[0], "share")} to {markup.number(bounds[1], "share")}</span>'))
