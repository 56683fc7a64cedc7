"""Text that is safe in a page: escaping, numbers with units, tables, sections."""

import base64
import html
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

MISSING = "–"
JPEG_QUALITY = 82
PICTURE_WIDTH = 960
"""Embedded pictures are not wider than this [px]."""


def escape(value: Any) -> str:
    """Text for element content and quoted attributes."""
    return html.escape(str(value))


def anchor(text: str) -> str:
    """An id made of any text; different texts give different ids."""
    return re.sub(r"[^A-Za-z0-9_]", lambda m: "-" if m[0] == " " else f".{ord(m[0]):x}", text)


def number(value: Any, kind: str = "number") -> str:
    """One value as a reader wants it; – when it was not measured, ∞ for the error of a missing pose.

    Args:
      kind: `share` (as percent), `count`, or anything else for a number of three significant digits.
    """
    if value is None or isinstance(value, float) and math.isnan(value):
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, str):
        return escape(value)
    value = float(value)
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if kind == "share":
        return f"{_three(100 * value)} %"
    if kind == "count" or kind == "number" and value == round(value) and abs(value) < 1e6:
        return f"{round(value):,}".replace(",", " ")
    return f"{value:.3f}" if kind == "ratio" else _three(value)


def plain_json(value: Any, longest: int = 60) -> Any:
    """`value` with long lists cut: the page shows what there is, the file beside it holds everything."""
    if isinstance(value, dict):
        return {str(k): plain_json(v, longest) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        kept = [plain_json(v, longest) for v in value[:longest]]
        return kept if len(value) <= longest else [*kept, f"… {len(value) - longest} more in results.json"]
    return value


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself when it is wider than the page. Cells are markup."""
    top = "".join(f"<th scope=col>{cell}</th>" for cell in head)
    body = "".join(f"<tr><th scope=row>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
                   for row in rows)
    return (f'<div class="scroll"><table class="{escape(kind)}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody>'
            "</table></div>")


def folded(title: str, content: str, *, unfolded: bool = False) -> str:
    """Content that opens on a click."""
    return f"<details{' open' if unfolded else ''}><summary>{escape(title)}</summary>{content}</details>"


def jpeg(image: NDArray[np.uint8], alt: str) -> str:
    """An RGB image (H, W, 3) inside the page, not wider than PICTURE_WIDTH."""
    picture = PillowImage.fromarray(np.ascontiguousarray(image))
    if picture.width > PICTURE_WIDTH:
        picture = picture.resize((PICTURE_WIDTH, round(picture.height * PICTURE_WIDTH / picture.width)),
                                 PillowImage.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (f'<img alt="{escape(alt)}" width="{picture.width}" height="{picture.height}" '
            f'src="data:image/jpeg;base64,{data}">')


def _three(value: float) -> str:
    """Three significant digits, never in powers of ten for what a person measures."""
    if value == 0 or abs(value) >= 1e6 or abs(value) < 1e-4:
        return f"{value:.3g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
