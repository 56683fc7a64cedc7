"""Which frames are shown, and that no more frames are read than needed."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.bags.truth import Truth, TruthPose
from storm_core.geometry.pose import se3_exp
from storm_core.report.overlay import TRUSTED, TRUTH, OverlayPainter
from storm_core.report.pictures import SHOWN, run_pictures
from storm_core.report.worst_frames import worst_frames
from storm_core.types import Frame
from test.synthetic import CAMERA, pose
from test.unit.report.runs import BOX, PERIOD_NS, make_run, output

RESULTS, OUTPUTS, ERRORS = make_run(200)
POSE = pose((0.4, 0.3, 0.1), (0.0, 0.02, 0.6))


def test_the_largest_error_of_a_trusted_pose_comes_first() -> None:
    first = worst_frames(ERRORS, OUTPUTS, 12)[0]
    assert first.index == 150 and first.why == "Trusted pose with the largest error"
    assert first.detail.startswith(f"MSSD {1e3 * ERRORS['box'].mssd_m[150]:.1f} mm, TRACKING, p = ")


def test_frames_are_shown_once_apart_and_not_more_than_asked_for() -> None:
    for count in (0, 1, 5, 12):
        found = [w.index for w in worst_frames(ERRORS, OUTPUTS, count)]
        assert len(found) == len(set(found)) <= count
    errors = [w.index for w in worst_frames(ERRORS, OUTPUTS, 12) if "error" in w.why]
    assert min(np.diff(sorted(errors))) > 200 // 40, "neighbours of a bad moment are not shown again"


def test_each_gap_is_shown_by_the_frame_that_shows_most() -> None:
    share = np.full(200, 0.5)
    share[64] = 0.9
    silent = np.zeros(200, bool)
    silent[60:75] = silent[120:123] = True
    outputs = [output(k, None, "SEARCHING") if silent[k] else OUTPUTS[k] for k in range(200)]
    e = replace(ERRORS["box"], trusted=ERRORS["box"].trusted & ~silent, visible_share=share,
                visible=np.ones(200, bool))
    missed = [w for w in worst_frames({"box": e}, outputs, 12) if "In view" in w.why]
    assert [w.index for w in missed][:3] == [90, 64, 121], "longest first; the best view, else the middle"
    assert "90% visible" in missed[1].detail and "SEARCHING, occluded" in missed[1].detail
    assert "p =" not in missed[1].detail, "no pose, no probability"


def test_trust_in_a_hidden_object_is_worse_than_any_error() -> None:
    e = ERRORS["box"]
    mssd = np.where(np.arange(200) == 30, np.inf, e.mssd_m)
    first = worst_frames({"box": replace(e, mssd_m=mssd)}, OUTPUTS, 3)[0]
    assert (first.index, first.why) == (30, "Trusted, but it cannot be there")


def test_giving_up_a_right_pose_is_a_wrong_change() -> None:
    outputs = list(OUTPUTS)
    outputs[40] = output(40, POSE, "SUSPECT", before="TRACKING")
    frames = np.arange(200)
    e = ERRORS["box"]
    e = replace(e, trusted=e.trusted & (frames != 40) & ((frames < 120) | (frames > 125)))
    whys = {w.index: w.why for w in worst_frames({"box": e}, outputs, 3)}
    assert whys[40] == "TRACKING → SUSPECT although the pose was right"
    e = replace(e, visible=e.visible & (frames != 40))
    whys = {w.index: w.why for w in worst_frames({"box": e}, outputs, 12)}
    assert "although" not in " ".join(whys.values()), "a hidden object may be given up"


def test_without_truth_doubt_and_silence_are_shown() -> None:
    outputs = [output(k, POSE, probability=0.3 if k == 17 else 0.9) for k in range(60)]
    outputs[29] = output(29, POSE, probability=0.5)
    outputs += [output(60, None, "LOST", before="SUSPECT"), *(output(k, None, "SEARCHING") for k in range(61, 81))]
    found = {w.index: w.why for w in worst_frames({}, outputs, 6)}
    assert found[17] == "Least certain trusted pose" and found[29] == "Second least certain trusted pose"
    assert found[60] == "SUSPECT → LOST" and found[70] == "Without a trusted pose"
    assert worst_frames({}, [], 6) == []


class Still:
    """A recording of one grey image that counts how often it is read."""

    def __init__(self, frames: int) -> None:
        self.path, self.name, self.sha256, self.read = Path("still"), "still", "0", 0
        self.ids = tuple((1, k) for k in range(frames))
        self.stamps_ns = tuple(k * PERIOD_NS for k in range(frames))

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        for k in range(len(self)) if only is None else sorted(only):
            self.read += 1
            yield Frame(rgb=np.full((480, 640, 3), 90, np.uint8), depth=np.zeros((480, 640), np.float32), camera=CAMERA,
                        stamp_ns=k * PERIOD_NS)

    def __len__(self) -> int:
        return len(self.ids)


@pytest.mark.parametrize("video", [False, True])
def test_frames_are_read_once_and_only_those_that_are_needed(video: bool, tmp_path: Path) -> None:
    outputs = [output(k, POSE if k < 30 else None, "TRACKING" if k < 30 else "LOST") for k in range(60)]
    recording = Still(60)
    found = run_pictures(tmp_path, {"box": BOX}, recording, outputs, {}, None, video=video, rate_hz=30.0)
    wanted = worst_frames({}, outputs, SHOWN)
    assert [p.caption for p in found] == [w.why for w in wanted]
    assert f"frame {wanted[0].index}, scene 1 image {wanted[0].index} (" in found[0].detail
    assert recording.read == (60 if video else len(wanted))
    assert {p.name for p in tmp_path.iterdir()} == ({"overlay.mp4", "overlay.gif", "overlay.png"} if video else set())


def test_the_truth_is_drawn_where_it_is(tmp_path: Path) -> None:
    off = se3_exp([0.1, 0, 0, 0, 0, 0]) @ POSE
    outputs = [output(0, off)]
    truth = Truth(frames={"box": [(TruthPose(cam_from_obj=POSE),)]}, source="test")
    image = run_pictures(tmp_path, {"box": BOX}, Still(1), outputs, {}, truth, video=False, rate_hz=30.0)[0].image
    for color, at in ((TRUTH, POSE), (TRUSTED, off)):
        rows, columns = np.nonzero((image[40:] == color).all(-1))
        u, v = CAMERA.project(at[:3, 3])
        assert len(rows) > 50 and abs((columns.max() + columns.min()) / 2 - u) < 12
        assert abs((rows.max() + rows.min()) / 2 + 40 - v) < 12
    plain = OverlayPainter({"box": BOX}).paint(np.full((480, 640, 3), 90, np.uint8), CAMERA, outputs[0].objects)
    assert not (plain == TRUTH).all(-1).any()
