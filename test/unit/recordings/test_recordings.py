"""Recordings: what is read, and what is said when it cannot be."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from storm_core.bags import messages
from storm_core.bags.lens import lens_of
from storm_core.bags.recording import open_recording
from storm_core.bags.truth import load_truth, read_tum
from storm_core.bags.write import DEPTH_TOPIC, IMAGE_TOPIC, STORAGES, BagWriter, topic_name, write_recording
from storm_core.errors import DatasetError, SetupError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import inverse, se3_exp
from storm_core.report.tum import write_tum
from storm_core.types import Evidence, Frame, ObjectOutput, Reason

CAMERA = PinholeCamera(96, 64, 90.0, 91.0, 47.3, 31.8)
POSE = se3_exp([0.02, -0.01, 0.5, 0.3, -0.2, 0.1])


def frames(n: int = 3) -> list[Frame]:
    rng = np.random.default_rng(1)
    return [Frame(rgb=rng.integers(0, 255, (64, 96, 3), dtype=np.uint8), camera=CAMERA,
                  depth=np.round(rng.uniform(0.3, 2.0, (64, 96)), 3).astype(np.float32),
                  stamp_ns=1_700_000_000_000_000_000 + k * 33_333_333, frame_id="cam") for k in range(n)]


def bag_at(path: Path, storage: str = "mcap", n: int = 3) -> Path:
    items = frames(n)
    write_recording(path, items, {"cube": {f.stamp_ns: POSE for f in items}}, storage=storage)
    return path


def scene_at(path: Path, n: int = 2, **changes: object) -> Path:
    """A plain BOP scene; changes replace entries of scene_camera.json (None removes one)."""
    for part in ("rgb", "depth"):
        (path / part).mkdir(parents=True)
    entry = {"cam_K": CAMERA.matrix.reshape(9).tolist(), "depth_scale": 1.0} | changes
    entry = {k: v for k, v in entry.items() if v is not None}
    for k, frame in enumerate(frames(n)):
        cv2.imwrite(str(path / "rgb" / f"{k:06d}.png"), frame.rgb[..., ::-1])
        cv2.imwrite(str(path / "depth" / f"{k:06d}.png"), np.round(frame.depth * 1e3).astype(np.uint16))
    (path / "scene_camera.json").write_text(json.dumps({str(k): entry for k in range(n)}))
    return path


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compress", [True, False])
def test_a_written_bag_reads_back(tmp_path: Path, storage: str, compress: bool) -> None:
    items = frames()
    with BagWriter(tmp_path / "bag", storage=storage, compress=compress) as bag:
        for frame in items:
            bag.frame(frame)
            bag.truth("1", frame.stamp_ns, POSE, frame.frame_id)
    recording = open_recording(tmp_path / "bag")
    assert len(recording) == 3 and recording.ids == ((0, 0), (0, 1), (0, 2))
    for read, wrote in zip(recording.frames(), items, strict=True):
        assert np.array_equal(read.rgb, wrote.rgb)
        assert np.allclose(read.depth, wrote.depth, atol=5.1e-4)
        assert (read.stamp_ns, read.frame_id) == (wrote.stamp_ns, "cam")
        assert np.allclose(read.camera.vector, CAMERA.vector)
    truth = load_truth(recording, {}, ["1"])
    assert truth is not None and "/ground_truth/obj_1" in truth.source
    assert all(np.allclose(t[0].cam_from_obj, POSE) for t in truth.frames["1"] if t is not None)


def test_metres_are_written_as_floats(tmp_path: Path) -> None:
    frame = frames(1)[0]
    with BagWriter(tmp_path / "bag") as bag:
        bag.frame(frame, depth_unit="m")
    assert np.array_equal(next(open_recording(tmp_path / "bag").frames()).depth, frame.depth)


def test_an_exception_leaves_no_bag_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), BagWriter(tmp_path / "bag") as bag:
        bag.frame(frames(1)[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_bag_is_never_overwritten_or_written_below_a_file(tmp_path: Path) -> None:
    bag_at(tmp_path / "bag")
    with pytest.raises(DatasetError, match="exists already"):
        BagWriter(tmp_path / "bag")
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="writable"), BagWriter(tmp_path / "file" / "bag"):
        pass


def test_topic_names() -> None:
    assert [topic_name(n) for n in ("1", "soup can", "box", "7-up__x")] == ["obj_1", "soup_can", "box", "obj_7_up_x"]


def test_bag_without_depth_lists_its_topics(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with BagWriter(tmp_path / "bag") as bag:
        bag.message("/chatter", 1, store.types["std_msgs/msg/String"]("hello"))
    with pytest.raises(DatasetError, match=r"no colour images.*/chatter \(std_msgs/msg/String\)"):
        open_recording(tmp_path / "bag")
    bag_at(tmp_path / "good")
    with pytest.raises(DatasetError, match=rf"no topic /nope.*{IMAGE_TOPIC}"):
        open_recording(tmp_path / "good", image_topic="/nope")


@pytest.mark.parametrize("storage", STORAGES)
def test_truncated_bags_are_named_as_such(tmp_path: Path, storage: str) -> None:
    """Cut at many places: either every frame is there, or one DatasetError says so; never anything else."""
    whole = bag_at(tmp_path / "whole", storage, n=4)
    file = next(p for p in whole.iterdir() if p.name != "metadata.yaml")
    size, refused = file.stat().st_size, 0
    for k, share in enumerate(np.linspace(0.0, 0.999, 25)):
        cut = tmp_path / f"cut{k}"
        shutil.copytree(whole, cut)
        with (cut / file.name).open("r+b") as stream:
            stream.truncate(int(size * share))
        try:
            recording = open_recording(cut)
            assert sum(1 for _ in recording.frames()) == 4
        except DatasetError as error:
            refused += 1
            assert str(cut) in str(error)
    assert refused >= 20


def test_damaged_bytes_never_raise_anything_but_a_named_error(tmp_path: Path) -> None:
    whole = bag_at(tmp_path / "whole", n=3)
    file = next(p for p in whole.iterdir() if p.name != "metadata.yaml")
    content = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(content)
        for at in rng.integers(0, len(content), 5):
            broken[at] ^= int(rng.integers(1, 256))
        file.write_bytes(broken)
        try:
            assert len(list(open_recording(whole).frames())) <= 3
        except DatasetError:
            pass


def test_bop_scene_reads_back_with_stamps_from_image_numbers(tmp_path: Path) -> None:
    recording = open_recording(scene_at(tmp_path / "000007"))
    assert recording.ids == ((7, 0), (7, 1))
    assert recording.stamps_ns[1] - recording.stamps_ns[0] == pytest.approx(1e9 / 30, abs=1)
    for read, wrote in zip(recording.frames(), frames(2), strict=True):
        assert np.array_equal(read.rgb, wrote.rgb) and np.allclose(read.depth, wrote.depth, atol=1e-6)


def test_several_scenes_follow_each_other(tmp_path: Path) -> None:
    for scene_id in (1, 2):
        scene_at(tmp_path / "test" / f"{scene_id:06d}")
    both = open_recording(tmp_path)
    assert both.ids == ((1, 0), (1, 1), (2, 0), (2, 1)) and list(both.stamps_ns) == sorted(set(both.stamps_ns))
    assert open_recording(tmp_path, scene=2).ids == ((2, 0), (2, 1))
    with pytest.raises(DatasetError, match="no scene 3; it has 1, 2"):
        open_recording(tmp_path, scene=3)


def test_plain_folder(tmp_path: Path) -> None:
    folder = scene_at(tmp_path / "mine")
    (folder / "scene_camera.json").unlink()
    camera = {"fx": 90.0, "fy": 91.0, "cx": 47.3, "cy": 31.8, "depth_scale": 1.0}
    (folder / "camera.json").write_text(json.dumps(camera))
    assert next(open_recording(folder).frames()).camera == CAMERA


def test_the_fingerprint_knows_the_input_but_not_the_truth(tmp_path: Path) -> None:
    scene = scene_at(tmp_path / "000001")
    depth = scene / "depth" / "000001.tif"
    pixels = cv2.imread(str(scene / "depth" / "000001.png"), cv2.IMREAD_UNCHANGED)
    (scene / "depth" / "000001.png").unlink()
    cv2.imwrite(str(depth), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    before, size = open_recording(scene).sha256, depth.stat().st_size
    (scene / "scene_gt.json").write_text("{}")
    assert open_recording(scene).sha256 == before
    pixels[30:] = 0
    cv2.imwrite(str(depth), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    changed = open_recording(scene).sha256
    assert changed != before and depth.stat().st_size == size
    cv2.imwrite(str(scene / "rgb" / "000001.png"), np.zeros((64, 96, 3), np.uint8))
    assert open_recording(scene).sha256 not in (before, changed)


def named_at(path: Path, colors: dict[str, int], depths: dict[str, int]) -> Path:
    """A plain folder: {stem: value}, colour images of that grey value and depth images of that many mm."""
    for part, images in (("rgb", colors), ("depth", depths)):
        (path / part).mkdir(parents=True)
        for stem, value in images.items():
            pixels = np.full((8, 12, 3), value, np.uint8) if part == "rgb" else np.full((8, 12), value, np.uint16)
            cv2.imwrite(str(path / part / f"{stem}.png"), pixels)
    (path / "camera.json").write_text(json.dumps({"fx": 12, "fy": 12, "cx": 6, "cy": 4}))
    return path


NAMES = {
    "TUM": ({f"130503110{k}.175304": k for k in (3, 1, 2)}, {f"130503110{k}.160407": k for k in (0, 1, 2, 3, 4)}),
    "TUM with gaps": ({f"130503110{k}.175304": k for k in range(1, 5)} | {"1305031104.5": 9},
                      {f"130503110{k}.190000": k for k in range(1, 5)}),
    "not padded": ({f"frame_{k}": k for k in range(12)}, {f"frame_{k}": k for k in range(12)}),
    "two words": ({f"{k}_color": k for k in (1, 2, 11)}, {f"{k}_depth": k for k in (1, 2, 3, 11)}),
    "numbers and words": ({f"{k:04d}": k for k in (1, 2, 3)}, {f"depth_{k}": k for k in (0, 1, 2, 3)}),
    "no numbers": ({"far": 1, "near": 2}, {"far": 1, "mid": 5, "near": 2}),
    "other clock": ({"9.9": 1, "10.05": 2}, {"9.91": 1, "10.06": 2}),
}


@pytest.mark.parametrize("names", NAMES)
def test_depth_is_found_by_name(tmp_path: Path, names: str) -> None:
    recording = open_recording(named_at(tmp_path / "mine", *NAMES[names]))
    values = [(int(f.rgb[0, 0, 0]), round(float(f.depth[0, 0]) * 1e3)) for f in recording.frames()]
    assert values == [(k, k) for k in sorted(NAMES[names][0].values()) if k != 9 or names == "not padded"]
    assert list(recording.stamps_ns) == sorted(set(recording.stamps_ns)) and recording.stamps_ns[0] > 0


@pytest.mark.parametrize(("colors", "depths", "complaint"), [
    (("a_1", "a_2"), ("b_1", "b_3"), "a_2.png has no depth image"),
    (("left", "right"), ("near", "far"), "left.png has no depth image"),
    (("1305031101.1", "1305031102.1"), ("1305031101.2", "1305031102.2"), "1101.1.png has no depth image.*20 ms"),
    (("1700000000033", "1700000000066", "1700000000100"), ("1700000000033", "1700000000066"),
     "100.png has no depth image"),
    (("1", "01"), ("1",), "both image 1"), (("1", "far"), ("1", "far"), "far.png is no number"),
    (("1305031101.1", "take_two"), ("1305031101.1", "take_two"), "take_two.png has no time in its name"),
])
def test_images_without_partner_are_named(tmp_path: Path, colors: tuple[str, ...], depths: tuple[str, ...],
                                          complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        open_recording(named_at(tmp_path / "mine", dict.fromkeys(colors, 1), dict.fromkeys(depths, 1)))


@pytest.mark.parametrize(("stem", "stamp_ns"), [
    ("1700000000", 1_700_000_000 * 10**9), ("1700000000033", 1_700_000_000_033 * 10**6),
    ("1700000000033333", 1_700_000_000_033_333 * 10**3), ("1700000000033333444", 1_700_000_000_033_333_444),
    ("cam_1700000000.033333444", 1_700_000_000_033_333_444), ("6000000000000000", 6 * 10**15),
    ("20240131", round((1 + 20240131 / 30) * 1e9)), ("3", round(1.1e9)), ("0.25", 1_250_000_000),
])
def test_times_in_names_are_told_apart_by_their_size(tmp_path: Path, stem: str, stamp_ns: int) -> None:
    assert open_recording(named_at(tmp_path / "mine", {stem: 1}, {stem: 1})).stamps_ns == (stamp_ns,)


def test_a_scene_number_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    scene = scene_at(tmp_path / "000007")
    assert len(open_recording(scene, scene=7)) == 2
    with pytest.raises(DatasetError, match="no scene 3; it has 7"):
        open_recording(scene, scene=3)
    with pytest.raises(DatasetError, match="leave out --scene 3"):
        open_recording(named_at(tmp_path / "mine", {"1": 1}, {"1": 1}), scene=3)
    with pytest.raises(DatasetError, match="is a bag.*leave out --scene 0"):
        open_recording(bag_at(tmp_path / "bag"), scene=0)


def test_grey_images_stand_in_for_colour(tmp_path: Path) -> None:
    scene = scene_at(tmp_path / "test" / "000001")
    (scene / "rgb").rename(scene / "gray")
    for file in (scene / "gray").iterdir():
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
    frame = next(open_recording(tmp_path).frames())
    assert frame.rgb.shape == (64, 96, 3) and (frame.rgb == frame.rgb[..., :1]).all()


def test_scene_without_camera(tmp_path: Path) -> None:
    scene = scene_at(tmp_path / "000001")
    (scene / "scene_camera.json").unlink()
    with pytest.raises(DatasetError, match="no scene_camera.json"):
        open_recording(scene)


@pytest.mark.parametrize(("k", "complaint"), [
    ([90, 0, 0], "no usable intrinsics"),
    ([0.9, 0, 0.47, 0, 0.9, 0.31, 0, 0, 1], "implausible"),
    ([90, 0, 470, 0, 91, 31, 0, 0, 1], "another image size"),
    ([90, 0, 120, 0, 91, 31, 0, 0, 1], "another image size"),
    ([90, 0, 0, 0, 91, 0, 47.3, 31.8, 1], "transposed"),
    ([90, 0, 47.3, 5, 91, 31.8, 0, 0, 1], "transposed"),
    ([90, 0, 47.3, 0, 91, 31.8, 0, 0, 2], "0 0 1"),
    ([90, 5, 47.3, 0, 91, 31.8, 0, 0, 1], "skew of 5 px"),
])
def test_wrong_intrinsics(tmp_path: Path, k: list[float], complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        open_recording(scene_at(tmp_path / "000001", cam_K=k))


def test_depth_of_another_size_without_its_camera(tmp_path: Path) -> None:
    scene = scene_at(tmp_path / "000001")
    cv2.imwrite(str(scene / "depth" / "000000.png"), np.full((32, 48), 500, np.uint16))
    with pytest.raises(DatasetError, match="depth is 48x32 but colour is 96x64.*depth_from_color"):
        open_recording(scene)


def test_depth_camera_beside_the_colour_camera(tmp_path: Path) -> None:
    """depth_from_color moves colour points to the depth camera, in mm; a wall at 1 m shifts by fx * baseline."""
    depth_from_color = np.eye(4)
    depth_from_color[0, 3] = -50.0
    scene = scene_at(tmp_path / "000001", depth_K=CAMERA.matrix.tolist(), depth_from_color=depth_from_color.tolist())
    for k in range(2):
        depth = np.full((64, 96), 1000, np.uint16)
        depth[:, 40:] = 0
        cv2.imwrite(str(scene / "depth" / f"{k:06d}.png"), depth)
    out = next(open_recording(scene).frames()).depth
    columns = np.flatnonzero(out[30] > 0)
    assert columns.max() == pytest.approx(39 + 90.0 * 0.05, abs=0.51) and np.allclose(out[out > 0], 1.0)
    with pytest.raises(DatasetError, match="belong together"):
        open_recording(scene_at(tmp_path / "000002", depth_K=CAMERA.matrix.tolist()))


def test_missing_and_damaged_images(tmp_path: Path) -> None:
    scene = scene_at(tmp_path / "000001")
    (scene / "depth" / "000001.png").unlink()
    with pytest.raises(DatasetError, match="000001.png has no depth image"):
        open_recording(scene)
    scene = scene_at(tmp_path / "000002")
    (scene / "rgb" / "000000.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        open_recording(scene)
    with pytest.raises(DatasetError, match="neither a bag nor"):
        open_recording(tmp_path / "000002" / "rgb")
    with pytest.raises(DatasetError, match="does not exist"):
        open_recording(tmp_path / "nowhere")


class _Info:
    """The fields of a camera_info that matter."""

    width, height = CAMERA.width, CAMERA.height

    def __init__(self, d: list[float], model: str) -> None:
        self.k, self.d, self.distortion_model = CAMERA.matrix.reshape(9), np.array(d), model
        self.p = np.hstack([np.diag([2, 2, 1]) @ CAMERA.matrix, np.zeros((3, 1))]).reshape(12)


def test_lens_distortion_is_removed() -> None:
    """A straight line of the world, bent by the lens, is straight again; depth values are never mixed."""
    d = np.array([-0.3, 0.1, 0.0, 0.0, 0.0])
    lens = lens_of(_Info(d.tolist(), "plumb_bob"), "/info", rectified=False)
    x = (np.arange(96) - CAMERA.cx) / CAMERA.fx
    line = np.stack([x, np.full(96, 0.2), np.ones(96)], -1)
    bent, _ = cv2.projectPoints(line, np.zeros(3), np.zeros(3), CAMERA.matrix, d)
    depth = np.zeros((64, 96), np.float32)
    for u, v in bent[:, 0]:
        depth[max(0, round(v) - 2):round(v) + 3, min(95, max(0, round(u)))] = 1.0
    _, straight = lens.undistort(np.zeros((64, 96, 3), np.uint8), depth)
    row = round(CAMERA.cy + 0.2 * CAMERA.fy)
    assert (straight[row, 10:86] == 1.0).mean() > 0.95 and set(np.unique(straight)) <= {0.0, 1.0}
    assert lens_of(_Info([0.0] * 5, "plumb_bob"), "/info", rectified=False).map_x is None
    assert lens_of(_Info(d.tolist(), "plumb_bob"), "/info", rectified=True).camera.fx == 2 * CAMERA.fx
    with pytest.raises(DatasetError, match="thin_prism"):
        lens_of(_Info(d.tolist(), "thin_prism"), "/info", rectified=False)


def test_tum_round_trip_keeps_nanoseconds(tmp_path: Path) -> None:
    stamp = 1_760_000_000_399_999_996
    item = ObjectOutput(object_name="a", stamp_ns=stamp, state="TRACKING", reason=Reason.VERIFIED, cam_from_obj=POSE,
                        covariance=None, probability=1.0, trusted=True, coasting=False, evidence=Evidence())
    write_tum(tmp_path / "a.tum", [item])
    read = read_tum(tmp_path / "a.tum")
    assert list(read) == [stamp]
    assert np.abs(inverse(read[stamp]) @ POSE - np.eye(4)).max() < 1e-8
    (tmp_path / "b.tum").write_text("1.0 2 3\n")
    with pytest.raises(DatasetError, match="entry 1 is not TUM"):
        read_tum(tmp_path / "b.tum")


def test_two_cameras_that_disagree_are_not_aligned(tmp_path: Path) -> None:
    """A depth topic with intrinsics of its own, at the size of the colour image."""
    frame = frames(1)[0]
    with BagWriter(tmp_path / "bag") as bag:
        bag.frame(frame)
        other = PinholeCamera(96, 64, 70, 70, 48, 32)
        bag.message(DEPTH_TOPIC.replace("image_raw", "camera_info"), 1,
                    messages.camera_info(messages.header(1, "depth"), other))
    with pytest.raises(DatasetError, match="not aligned"):
        open_recording(tmp_path / "bag")


def test_ros1_bag(tmp_path: Path) -> None:
    """The same messages in the old format: fields K, D, P instead of k, d, p, and other serialisation."""
    from rosbags.rosbag1 import Writer

    store = get_typestore(Stores.ROS1_NOETIC)
    types, items = store.types, frames(2)
    with Writer(tmp_path / "old.bag") as bag:
        connections = {topic: bag.add_connection(topic, f"sensor_msgs/msg/{kind}", typestore=store)
                       for topic, kind in ((IMAGE_TOPIC, "Image"), (DEPTH_TOPIC, "Image"), ("/camera/color/camera_info",
                                                                                           "CameraInfo"))}
        for k, frame in enumerate(items):
            stamp = types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 10**9))
            header = types["std_msgs/msg/Header"](k, stamp, "cam")
            depth = np.round(frame.depth * 1e3).astype(np.uint16)
            roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            image = types["sensor_msgs/msg/Image"]
            for topic, message in (
                    (IMAGE_TOPIC, image(header, 64, 96, "bgr8", 0, 288,
                                        np.ascontiguousarray(frame.rgb[..., ::-1]).reshape(-1))),
                    (DEPTH_TOPIC, image(header, 64, 96, "16UC1", 0, 192, depth.view(np.uint8).reshape(-1))),
                    ("/camera/color/camera_info", types["sensor_msgs/msg/CameraInfo"](
                        header, 64, 96, "plumb_bob", np.zeros(5), CAMERA.matrix.reshape(9), np.eye(3).reshape(9),
                        np.hstack([CAMERA.matrix, np.zeros((3, 1))]).reshape(12), 0, 0, roi))):
                connection = connections[topic]
                bag.write(connection, frame.stamp_ns, store.serialize_ros1(message, connection.msgtype))
    for read, wrote in zip(open_recording(tmp_path / "old.bag").frames(), items, strict=True):
        assert np.array_equal(read.rgb, wrote.rgb) and np.allclose(read.depth, wrote.depth, atol=1e-6)
        assert read.stamp_ns == wrote.stamp_ns and read.camera == CAMERA


def test_colour_and_depth_are_paired_by_stamp(tmp_path: Path) -> None:
    """Depth lags by some ms and misses one picture; that picture is left out instead of getting another's depth."""
    items = frames(5)
    with BagWriter(tmp_path / "bag") as bag:
        for k, frame in enumerate(items):
            header = messages.header(frame.stamp_ns, "cam")
            bag.message(IMAGE_TOPIC, frame.stamp_ns, messages.image(header, frame.rgb, "rgb8"))
            bag.message("/camera/color/camera_info", frame.stamp_ns, messages.camera_info(header, CAMERA))
            if k != 2:
                late = messages.header(frame.stamp_ns + 7_000_000, "cam")
                bag.message(DEPTH_TOPIC, frame.stamp_ns + 200_000_000, messages.image(late, frame.depth, "32FC1"))
    read = list(open_recording(tmp_path / "bag").frames())
    kept = [f for k, f in enumerate(items) if k != 2]
    assert [f.stamp_ns for f in read] == [f.stamp_ns for f in kept]
    for a, b in zip(read, kept, strict=True):
        assert np.array_equal(a.rgb, b.rgb) and np.array_equal(a.depth, b.depth)
