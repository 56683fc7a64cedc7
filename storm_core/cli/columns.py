"""Tables on the terminal: cells of text in columns of equal width."""

from collections.abc import Collection, Sequence
from typing import Any


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """The rows as lines; columns in `left` begin at the left, the others end at the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(text.ljust(w) if i in left else text.rjust(w) for i, (text, w) in
                               enumerate(zip(row, widths, strict=True))).rstrip() for row in rows)


def cell(value: Any) -> str:
    """A figure with three decimals, anything else as it is; - where nothing was measured."""
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
