"""Pictures as a strip of thumbnails; a click enlarges."""

from collections.abc import Sequence

from storm_core.report.html import markup
from storm_core.report.overlay import COASTING, TRUSTED, TRUTH
from storm_core.report.pictures import Picture


def film(pictures: Sequence[Picture], *, colors: bool) -> str:
    """All pictures with captions. colors: they are overlays of a run, so say what the outlines mean."""
    legend = ""
    if colors:
        names = ((TRUSTED, "trusted pose"), (COASTING, "coasting pose"), (TRUTH, "ground truth"))
        legend = '<div class="legend">' + "".join(
            f'<span><i style="background:rgb{rgb}"></i>{text}</span>' for rgb, text in names) + "</div>"
    shots = "".join(
        f'<figure><button type="button" aria-label="enlarge: {markup.escape(p.caption)}">'
        f"{markup.jpeg(p.image, p.caption)}</button><figcaption><b>{markup.escape(p.caption)}</b>"
        f"{markup.escape(p.detail)}</figcaption></figure>" for p in pictures)
    return f'{legend}<div class="film">{shots}</div>'


VIEWER = '<dialog aria-label="enlarged picture"><img alt="enlarged picture" src="data:,"><p></p></dialog>'
"""Where the page's script shows an enlarged picture."""
