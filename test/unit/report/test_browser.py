"""The report in a real browser: no errors, every picture shown, nothing wider than a phone, a click enlarges."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from storm_core.report.html import html_report
from storm_core.report.pictures import Picture
from storm_core.report.provenance import provenance
from test.unit.report.runs import BOX, make_run

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE, LAPTOP = (390, 844), (1280, 900)

PROBE = """
<script>
addEventListener("load", () => {
  const page = document.scrollingElement;
  const images = [...document.querySelectorAll("section img")];
  const wide = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, nav, pre, dialog")
    && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.tagName + "." + e.className);
  let sent = true;
  const request = new XMLHttpRequest();
  request.open("GET", "https://example.org/", false);
  try { request.send(); } catch (e) { sent = false; }
  const found = {
    width: innerWidth, scroll: page.scrollWidth, wide,
    images: images.map((i) => i.naturalWidth),
    charts: [...document.querySelectorAll("svg")].map((s) => s.getBoundingClientRect().height),
    colors: getComputedStyle(document.body).backgroundColor,
    line: getComputedStyle(document.querySelector("svg path[style*='--purple']")).stroke,
    sent, sticky: getComputedStyle(document.querySelector("nav")).position,
  };
  document.querySelector(".film button").click();
  found.open = document.querySelector("dialog").open;
  found.caption = document.querySelector("dialog p").textContent;
  found.large = document.querySelector("dialog img").src === images[0].src;
  document.querySelector("dialog").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
  found.next = document.querySelector("dialog img").src === images[1].src;
  document.querySelector("dialog").click();
  found.closed = !document.querySelector("dialog").open;
  console.log("PROBE" + JSON.stringify(found) + "EBORP");
});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is in PATH; on Debian: apt install chromium")
    return found


@pytest.fixture(scope="module")
def page() -> str:
    results, outputs, errors = make_run(300)
    rng = np.random.default_rng(0)
    pictures = [Picture(f"picture {k}", np.full((480, 640, 3), rng.integers(0, 255, 3), np.uint8), f"frame {k}")
                for k in range(5)]
    results |= {"provenance": provenance({"box": BOX}, "seed: 0\n"), "suspicion": [
        {"finding": "FROZEN", "level": "warning", "object": "box", "frames": 12, "detail": "the same pose"}]}
    return html_report(results, outputs, errors, pictures, "seed: 0\n")


def opened(browser: str, file: Path, size: tuple[int, int], *options: str) -> tuple[str, str]:
    """(DOM after loading, what the console said)."""
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={file.parent / 'profile'}",
         f"--window-size={size[0]},{size[1]}", "--enable-logging=stderr", *options,
         "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(console)


def probed(browser: str, page: str, folder: Path, size: tuple[int, int], *options: str) -> dict:
    """What the probe inside the page found. The page sits in a frame: a window cannot be as narrow as a phone."""
    (folder / "report.html").write_text(page.replace("</body>", PROBE + "</body>"))
    outside = folder / "outside.html"
    outside.write_text('<!doctype html><link rel=icon href="data:,"><iframe src="report.html" width="{}" height="{}" '
                       'style="border:0"></iframe>'.format(*size))
    _, console = opened(browser, outside, (1400, 1000), *options)
    answer = re.search("PROBE(.*)EBORP", console)
    assert answer, f"the probe did not run: {console}"
    # The only other thing to be said is that the probe's own attempt to reach the network was refused.
    others = [line for line in console.splitlines() if "PROBE" not in line and "example.org" not in line]
    assert not others, "\n".join(others)
    return json.loads(answer[1])


def test_no_console_message_at_all(browser: str, page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page)
    dom, console = opened(browser, file, LAPTOP)
    assert console == ""
    for text in ("tracked in", "of 270 trusted poses wrong", "Suspicious", "FROZEN: box", "Coverage and trust",
                 "Loss and recovery", "Worst frames", "Provenance", BOX.sha256, "95 % confidence interval"):
        assert text in dom, text


def test_a_broken_page_is_noticed(browser: str, page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page.replace("</body>", "<script>nothing.here()</script></body>"))
    assert "nothing is not defined" in opened(browser, file, LAPTOP)[1]


@pytest.mark.parametrize("size", [PHONE, LAPTOP], ids=["phone", "laptop"])
def test_everything_is_shown_and_fits(browser: str, page: str, tmp_path: Path, size: tuple[int, int]) -> None:
    found = probed(browser, page, tmp_path, size)
    assert found["width"] == size[0] and found["scroll"] <= size[0], f"the page scrolls sideways: {found['wide']}"
    assert found["wide"] == []
    assert found["images"] == [640] * 5 and len(found["charts"]) == 6 and min(found["charts"]) > 100
    assert found["sticky"] == "sticky" and not found["sent"], "the policy lets nothing out"


def test_a_click_enlarges_and_keys_go_on(browser: str, page: str, tmp_path: Path) -> None:
    found = probed(browser, page, tmp_path, LAPTOP)
    assert found["open"] and found["large"] and found["next"] and found["closed"]
    assert "picture 0" in found["caption"] and "frame 0" in found["caption"]


def test_a_dark_desktop_gets_a_dark_page(browser: str, page: str, tmp_path: Path) -> None:
    light = probed(browser, page, tmp_path, LAPTOP)
    dark = probed(browser, page, tmp_path, LAPTOP, "--blink-settings=preferredColorScheme=0")
    assert light["colors"] == "rgb(245, 246, 248)" and dark["colors"] == "rgb(16, 19, 24)"
    assert light["line"] == "rgb(116, 71, 176)" and dark["line"] == "rgb(183, 147, 236)", "plots follow"
