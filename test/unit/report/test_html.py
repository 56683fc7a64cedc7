"""The HTML report: everything there is, nothing that is not, and nothing from elsewhere."""

import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.report.html import html_report
from storm_core.report.html.catalogue import GROUPS, further, interval
from storm_core.report.html.chart import color, drawing, extremes, inline_svg, runs
from storm_core.report.html.markup import anchor, number, plain_json
from storm_core.report.html.theme import DARK, LIGHT, STATES
from storm_core.report.html.verdict import verdict_lines
from storm_core.report.pictures import Picture
from storm_core.report.pose_table import JudgedTargets
from test.unit.report.runs import make_run, output

RESULTS, OUTPUTS, ERRORS = make_run()
IMAGE = np.full((48, 64, 3), 90, np.uint8)


class Tags(HTMLParser):
    """Text, ids and links of a page; fails on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.ids, self.links = "", [], []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open, f"{self._open} stay open"

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag not in ("meta", "link", "img", "br"):
            self._open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("href", "src", "xlink:href"):
                self.links.append(value)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.text += data + "\n"


PAGE = html_report(RESULTS, OUTPUTS, ERRORS, [Picture("why it is here", IMAGE, "frame 3")], "seed: 7\n")
TAGS = Tags(PAGE)


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    assert len(TAGS.ids) == len(set(TAGS.ids)), "ids are unique"
    assert all(link.startswith(("#", "data:")) for link in TAGS.links)
    assert {link[1:] for link in TAGS.links if link.startswith("#")} <= set(TAGS.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", PAGE)) <= set(TAGS.ids)
    assert "default-src 'none'" in PAGE and "http:" not in PAGE and "https:" not in PAGE


def test_the_verdict_and_every_section_are_there() -> None:
    assert "wrong, first pose after" in TAGS.text and "1 of 180 trusted poses wrong" in TAGS.text
    for title in ("Summary", "Object box", "Worst frames", "Figures", "Accuracy", "Coverage and trust",
                  "Loss and recovery", "Time per stage [ms]", "State changes", "Provenance", "All values"):
        assert f"{title}\n" in TAGS.text, title
    for text in ("TRACKING → SUSPECT", "why it is here", "seed: 7", "ab" * 32, "scene <7>", "chi-square(6)"):
        assert text in TAGS.text, text
    assert PAGE.count("<svg") == 6 and PAGE.count("data:image/") == 1


def test_every_single_figure_of_the_results_is_shown() -> None:
    known = {e.key: e for entries in GROUPS.values() for e in entries}
    figures = RESULTS["objects"]["box"] | {"brand_new_figure": 0.12345}
    assert "brand_new_figure" in {e.key for e in further(figures)}
    page = Tags(html_report(RESULTS | {"objects": {"box": figures}}, OUTPUTS, ERRORS)).text
    assert "brand new figure\n0.123" in page
    assert {e.key for e in further(RESULTS["objects"]["box"])} == set(), "every figure of a run is explained"
    assert all(e.label and (e.meaning or e.key.endswith(".n")) for e in known.values())


def test_confidence_intervals_stand_below_their_figures() -> None:
    low, high = RESULTS["objects"]["box"]["ci95"]["coverage"]
    assert f"{number(low, 'share').removesuffix(' %')} to {number(high, 'share').removesuffix(' %')}" in TAGS.text
    assert interval({"ci95": {"mssd_mm_p50": [1.0, 2.0]}}, "mssd_mm.p50") == (1.0, 2.0)
    assert interval({"ci95": {"add_auc": None}}, "add_auc") is None and interval({}, "add_auc") is None


def test_suspicion_is_a_banner_and_a_note_is_none() -> None:
    assert 'class="banner"' not in PAGE
    found = [{"finding": "FROZEN", "level": "warning", "object": "box", "frames": 12, "detail": "same pose"},
             {"finding": "CANNOT_TELL", "level": "note", "object": "box", "frames": 9, "detail": "static truth"}]
    page = html_report(RESULTS | {"suspicion": found}, OUTPUTS, ERRORS)
    banner, note = page.index('<section class="banner"'), page.index('<section class="note"')
    assert "FROZEN: box: same pose (12 frames)" in page[banner:note]
    assert "CANNOT TELL: box: static truth (9 frames)" in page[note:page.index('id="Summary"')]
    only_note = html_report(RESULTS | {"suspicion": found[1:]}, OUTPUTS, ERRORS)
    assert '<section class="banner"' not in only_note and '<section class="note"' in only_note


def test_without_truth_nothing_is_said_about_accuracy() -> None:
    figures = {"trusted_share": 0.9, "first_pose_s": 0.4, "first_pose_frame": 3}
    page = Tags(html_report(RESULTS | {"truth": None, "objects": {"box": figures}}, OUTPUTS)).text
    assert "There is no ground truth" in page and "trusted pose in 90 % of all frames" in page
    assert "accuracy over threshold" not in page and "error [mm]" not in page


def test_an_object_never_found_is_said_to_be_so() -> None:
    outputs = [output(k, None, "SEARCHING") for k in range(20)]
    lines = verdict_lines({"objects": {"box": {"trusted_share": 0.0, "first_pose_s": None}}}, {})
    assert lines == [("bad", "box: never tracked; the state changes below say why.")]
    page = Tags(html_report(RESULTS | {"objects": {"box": {"trusted_share": 0.0, "first_pose_s": None}}}, outputs))
    assert "No state changed." in page.text


def test_one_frame_is_enough() -> None:
    results, outputs, errors = make_run(1)
    assert "Object box" in Tags(html_report(results, outputs, errors)).text


def targets(add_m: list[float]) -> JudgedTargets:
    errors = np.array(add_m)
    nothing = np.full(len(errors), np.nan)
    return JudgedTargets(places=tuple((1, k) for k in range(len(errors))), score=nothing, add_m=errors, adds_m=errors,
                         mssd_m=errors, mspd_px=nothing, proj_px=nothing, vsd=nothing)


def test_evaluations_of_single_pictures_have_no_time_series() -> None:
    figures = {"targets": 4, "predicted": 3, "add_auc": 0.7, "adds_auc": 0.75, "add_01d": 0.75, "adds_01d": 0.75,
               "mssd_01d": 0.75, "bop19": {"ar": 0.61}}
    head = {k: RESULTS[k] for k in ("command", "version", "input", "machine", "seed")}
    results = head | {"objects": {"7": figures}, "bop19": {"ar": 0.61}, "refusals": {"no_depth": 1}, "stages_ms": {},
                      "skipped": [{"scene_id": 1, "im_id": 3, "reason": "cannot be decoded"}],
                      "strata": {"occlusion=40": {key: {"mean": mean, "scenes": 3, "missing": 0} for key, mean in
                                                  (("right", 0.5), ("wrong", 0.125), ("found", None))}}}
    page = Tags(html_report(results, errors={"7": targets([0.001, 0.002, 0.003, float("inf")])},
                            pictures=[("wrong", IMAGE)])).text
    assert "occlusion=40" in page and "12.5 %" in page
    assert "7: 75 % of 4 targets right (MSSD below 0.1 diameter), 1 without an estimate" in page
    assert "BOP19 AR over all objects: 0.610" in page and "The 4 worst of 4 targets" in page and "1/3\n∞" in page
    assert "scene 1, image 3: cannot be decoded" in page and "no depth\n1" in page and "Pictures\n" in page
    assert "Targets\n" in page and "State changes" not in page and "over time" not in page


def test_sequences_are_shown_by_stride_and_stratum() -> None:
    shares = ("add_auc", "adds_auc", "add_01d", "published_01d", "coverage", "confidently_wrong", "inside_95",
              "coasting_inside_95")
    figures = {"scenes": 2, "frames": 480, **dict.fromkeys(shares, 0.75), "coasting_inside_95": None,
               "ci95": {"add_01d": [0.5, 0.875]}, "flips": {"symmetric": 3, "turned": 0}}
    results = RESULTS | {"sequences": {"8": {"all": figures, "objects": {"7": figures},
                                             "strata": {"light=dim": figures}}}}
    page = Tags(html_report(results)).text
    assert "Sequences" in page and "By stride\n" in page and "By stratum, stride 8" in page and "light=dim" in page
    assert re.search(r"75 %\s+50 % to 87.5 %", page)
    assert "By stride\n" not in Tags(html_report(RESULTS)).text


def test_time_courses_of_sequences_leave_out_the_scenes_that_were_not_searched() -> None:
    outputs = [*OUTPUTS[:20], *(output(20 + k, None, "DISABLED") for k in range(10))]
    assert "DISABLED" in Tags(html_report(RESULTS, outputs)).text
    assert "DISABLED" not in Tags(html_report(RESULTS | {"sequences": {}}, outputs)).text
    nothing = Tags(html_report(RESULTS | {"sequences": {}}, outputs[20:])).text
    assert "No scene was searched for it." in nothing


def test_mask_figures_of_all_objects_stand_beside_each() -> None:
    head = {k: RESULTS[k] for k in ("command", "version", "input", "machine", "seed")}
    results = head | {"masks": {"ap_bop": 0.4, "ap_storm": 0.5, "iou_mean": 0.83, "n": 12},
                      "objects": {k: {"targets": 6, "iou_mean": v} for k, v in (("1", 0.86), ("2", 0.8))}}
    page = Tags(html_report(results)).text
    assert "Masks: mean IoU 0.83 over 12 annotated objects" in page and "all objects" in page
    assert re.search(r"0.860\s+0.800\s+0.830", page)


def test_many_objects_become_rows() -> None:
    figures = {"targets": 1, "predicted": 1, "add_auc": 0.5, "adds_auc": 0.5, "add_01d": 1.0, "adds_01d": 1.0}
    page = html_report({**RESULTS, "objects": {f"object {k}": figures for k in range(7)}})
    assert "What these figures mean" in page and "<th scope=row>object 6</th>" in page


@given(st.text(min_size=1), st.text(min_size=1))
def test_ids_differ_where_names_do(one: str, other: str) -> None:
    assert (anchor(one) == anchor(other)) == (one == other)
    assert not re.search(r"[\s\"'()<>#&]", anchor(one))


@pytest.mark.parametrize(("value", "kind", "text"), [
    (0.98234, "share", "98.2 %"), (1.0, "share", "100 %"), (0.0, "share", "0 %"), (0.00042, "share", "0.042 %"),
    (0.98234, "ratio", "0.982"), (2.4285, "number", "2.43"), (1234.5, "number", "1234"), (12, "count", "12"),
    (3000, "count", "3 000"), (float("inf"), "number", "∞"), (None, "number", "–"), (float("nan"), "share", "–"),
    (np.float64(0.5), "ratio", "0.500"), (True, "number", "yes"), ("<b>", "number", "&lt;b&gt;")])
def test_numbers_as_a_reader_wants_them(value: object, kind: str, text: str) -> None:
    assert number(value, kind) == text


def test_long_lists_are_cut_in_the_dump_only() -> None:
    cut = plain_json({"a": list(range(100)), "b": [1]}, longest=3)
    assert cut == {"a": [0, 1, 2, "… 97 more in results.json"], "b": [1]}


@given(st.lists(st.one_of(st.floats(-1e3, 1e3), st.just(float("nan"))), min_size=1, max_size=400), st.integers(2, 20))
def test_decimation_keeps_extremes_and_gaps(values: list[float], columns: int) -> None:
    series = np.array(values)
    kept = extremes(series, columns)
    assert (np.diff(kept) > 0).all() and len(kept) <= max(3 * columns, min(len(series), 3 * columns))
    assert np.isnan(series).any() == np.isnan(series[kept]).any()
    if not np.isnan(series).all():
        assert np.nanmax(series[kept]) == np.nanmax(series) and np.nanmin(series[kept]) == np.nanmin(series)


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_runs_put_the_labels_together_again(labels: list[str]) -> None:
    found = runs(labels)
    assert [label for a, b, label in found for _ in range(a, b)] == labels
    assert all(x[2] != y[2] for x, y in zip(found[:-1], found[1:], strict=True))


def test_plots_take_the_colours_of_the_page() -> None:
    assert set(LIGHT) == set(DARK) and set(STATES) <= set(LIGHT)
    with drawing(3, 2) as (figure, (axis,)):
        axis.plot([0, 1], [0.125, 1], color=color("teal"))
        axis.set_yticks([0.125])
        svg = inline_svg(figure, "a & b")
    assert "var(--teal)" in svg and "#0f0" not in svg and "xmlns" not in svg and 'aria-label="a &amp; b"' in svg
    assert "0.125" in svg, "labels keep their digits"
    assert not re.findall(r"#[0-9a-f]{6}", svg), "no fixed colour that a dark page would swallow"


def test_a_long_run_stays_small_and_quick() -> None:
    results, outputs, errors = make_run(3000)
    outputs = [replace(o, stage_ms={**o.stage_ms, "total": 400.0 if k == 1501 else 12.0})
               for k, o in enumerate(outputs)]
    picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3)).astype(np.uint8)
    begin = time.perf_counter()
    page = html_report(results, outputs, errors, [(f"frame {k}", picture) for k in range(12)])
    assert time.perf_counter() - begin < 20
    assert len(page) < 5e6, "even pictures of pure noise"
    assert len(html_report(results, outputs, errors)) < 1.5e6
