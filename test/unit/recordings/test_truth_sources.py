"""Every place where ground truth may be gives the same truth."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from storm_core.bags import messages
from storm_core.bags.camera_motion import camera_motion
from storm_core.bags.recording import Recording, open_recording
from storm_core.bags.truth import Truth, TruthOptions, load_truth
from storm_core.errors import DatasetError
from storm_core.geometry.pose import inverse, se3_exp
from test.unit.recordings.small_bags import PERIOD, START, N, Stamped, frames, images, poses, tf, track, write_rosbag2

WORLD_FROM_CAM = {s: se3_exp([0.05 * k, 0, 0.2, 0, 0.03 * k, 0]) for k, s in enumerate(track())}


def bag(path: Path, extra: list[Stamped]) -> Recording:
    return open_recording(write_rosbag2(path / "bag", [*images(frames()), *extra]))


def loaded(recording: Recording, options: TruthOptions | None = None, names: tuple[str, ...] = ("cube",),
           ids: Mapping[str, int] | None = None) -> Truth:
    truth = load_truth(recording, ids or {}, names, options or TruthOptions())
    assert truth is not None
    return truth


def of(truth: Truth, name: str = "cube") -> list[np.ndarray | None]:
    return [None if i is None else i[0].cam_from_obj for i in truth.frames[name]]


def same(truth: Truth, name: str = "cube") -> bool:
    return bool(np.allclose(np.array(of(truth, name), float), list(track().values()), atol=1e-9))


def test_topics_of_every_type_with_one_pose(tmp_path: Path) -> None:
    extra: list[Stamped] = []
    for stamp, pose in track().items():
        at = messages.header(stamp, "/cam")
        extra += [("/mocap/cov", stamp, messages.pose_with_covariance_stamped(at, pose, np.eye(6))),
                  ("/mocap/transform", stamp, messages.transform(at, "cube", pose))]
    recording = bag(tmp_path, extra)
    for topic in ("/mocap/cov", "/mocap/transform"):
        truth = loaded(recording, TruthOptions(topics={"cube": topic}))
        assert same(truth) and truth.source == topic
    assert load_truth(recording, {}, ["cube"]) is None
    with pytest.raises(DatasetError, match=r"no topic /camera/color/camera_info with poses.*it has: .*/mocap/cov"):
        loaded(recording, TruthOptions(topics={"cube": "/camera/color/camera_info"}))


def test_poses_in_another_frame_are_moved_by_tf(tmp_path: Path) -> None:
    """A mocap system gives poses in its world; the camera moves in it. Unconnected frames are refused, not believed."""
    in_world = {s: WORLD_FROM_CAM[s] @ pose for s, pose in track().items()}
    camera = [tf(s, "world", {"cam": pose}) for s, pose in WORLD_FROM_CAM.items()]
    assert same(loaded(bag(tmp_path / "a", [*poses("/ground_truth/cube", in_world, "world"), *camera])))
    with pytest.raises(DatasetError, match="given in frame 'world', the images in 'cam'"):
        loaded(bag(tmp_path / "b", poses("/ground_truth/cube", in_world, "world")))


def test_tf_between_camera_and_object_through_the_world(tmp_path: Path) -> None:
    """The object's transform comes between the frames and is interpolated; where it is missing nothing is known."""
    steady = se3_exp([0.3, 0.1, 1.0, 0.2, 0, 0])
    velocity = np.array([0.3, 0, 0, 0, 0, 0])

    def moved(stamp: int) -> np.ndarray:
        return se3_exp(velocity * (stamp - START) * 1e-9) @ steady

    stamps = [START - PERIOD // 2 + k * PERIOD for k in range(N - 1)]
    extra = [*(tf(s, "world", {"base": pose}) for s, pose in WORLD_FROM_CAM.items()),
             tf(START, "base", {"cam": np.eye(4)}, "/tf_static"), *(tf(s, "world", {"cube": moved(s)}) for s in stamps)]
    recording = bag(tmp_path, extra)
    truth = loaded(recording, TruthOptions(tf={"cube": ("", "cube")}))
    found = of(truth)
    assert truth.source == "tf cam -> cube" and [p is None for p in found] == [k >= N - 2 for k in range(N)]
    for stamp, pose in zip(recording.stamps_ns, found[:N - 2], strict=False):
        assert pose is not None and np.allclose(pose, inverse(WORLD_FROM_CAM[stamp]) @ moved(stamp), atol=1e-6)
    other = loaded(recording, TruthOptions(tf={"cube": ("world", "cube")}))
    assert np.allclose(of(other)[0], moved(START), atol=1e-6)
    with pytest.raises(DatasetError, match="no frame 'cup'.*--gt-tf PARENT:CHILD"):
        loaded(recording, TruthOptions(tf={"cube": ("", "cup")}))


def scene(path: Path, im_ids: list[int]) -> Path:
    path.mkdir(parents=True)
    (path / "scene_gt.json").write_text(json.dumps({str(i): [{
        "obj_id": 7, "cam_R_m2c": pose[:3, :3].reshape(9).tolist(), "cam_t_m2c": (pose[:3, 3] * 1e3).tolist()}]
        for i, pose in zip(im_ids, track().values(), strict=False)}))
    return path


def test_annotations_of_a_bop_scene(tmp_path: Path) -> None:
    """Frame by frame, by image numbers in nanoseconds, or by a file with stamps."""
    recording, ids = bag(tmp_path, []), {"cube": 7}
    listed = scene(tmp_path / "listed", [3, 5, 8])
    (listed / "stamps.txt").write_text("".join(f"{i} {(START + k * PERIOD) * 1e-9:.6f}\n" for i, k in ((3, 0), (5, 1))))
    by_index, by_ns = scene(tmp_path / "index", [10 + 3 * k for k in range(N)]), scene(tmp_path / "ns", list(track()))
    for folder in (by_index, by_ns):
        assert same(loaded(recording, TruthOptions(bop=folder), ids=ids))
    found = of(loaded(recording, TruthOptions(bop=listed), ids=ids))
    assert [p is None for p in found] == [False, False] + [True] * (N - 2)
    assert np.allclose(found[1], track()[START + PERIOD])


def test_annotations_that_do_not_fit(tmp_path: Path) -> None:
    recording, ids = bag(tmp_path, []), {"cube": 7}
    short = scene(tmp_path / "short", [0, 1])
    with pytest.raises(DatasetError, match=r"describes 2 images, .* has 6 frames; add stamps.txt"):
        loaded(recording, TruthOptions(bop=short), ids=ids)
    (short / "stamps.txt").write_text("0 5.0\n1 6.0\n")
    with pytest.raises(DatasetError, match="do its stamps fit"):
        loaded(recording, TruthOptions(bop=short), ids=ids)
    (short / "stamps.txt").write_text("0 soon\n")
    with pytest.raises(DatasetError, match="image_number stamp_in_seconds.*it begins with '0 soon'"):
        loaded(recording, TruthOptions(bop=short), ids=ids)
    (short / "stamps.txt").write_text(f"0 {START * 1e-9}\n")
    with pytest.raises(DatasetError, match="object cube has no BOP id"):
        loaded(recording, TruthOptions(bop=short))
    with pytest.raises(DatasetError, match="scene_gt.json is missing"):
        loaded(recording, TruthOptions(bop=tmp_path), ids=ids)


def test_trajectories_of_several_objects(tmp_path: Path) -> None:
    recording = bag(tmp_path, [])
    lines = {"a": "1700000000.000000000 0 0 1 0 0 0 1", "b": "1700000000.066666666 0 0 2 0 0 0 1"}
    files = {name: tmp_path / f"{name}.tum" for name in lines}
    for name, line in lines.items():
        files[name].write_text(line + "\n")
    truth = loaded(recording, TruthOptions(tum=files), ("a", "b"))
    assert [p is not None for p in of(truth, "a")] == [k == 0 for k in range(N)]
    assert [p is not None for p in of(truth, "b")] == [k == 2 for k in range(N)]


def test_a_folder_of_images_has_no_topics(tmp_path: Path) -> None:
    class Folder:
        path, stamps_ns, ids = tmp_path, (START,), ((0, 0),)

    with pytest.raises(DatasetError, match="no topics and no tf"):
        load_truth(Folder(), {}, ["cube"], TruthOptions(tf={"cube": ("", "cube")}))


def test_motion_of_the_camera(tmp_path: Path) -> None:
    recording = bag(tmp_path, [tf(s, "world", {"cam": p}) for s, p in list(WORLD_FROM_CAM.items())[:-1]])
    motion = camera_motion(recording, "world")
    assert np.allclose(motion[:-1], list(WORLD_FROM_CAM.values())[:-1], atol=1e-9) and np.isnan(motion[-1]).all()
    with pytest.raises(DatasetError, match="no frame 'moon'"):
        camera_motion(recording, "moon")
