"""What a run leaves for other programs: a bag like that of the live nodes, and trajectories for evo."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import get_types_from_msg
from scipy.spatial.transform import Rotation

from storm_core.bags.message_types import DETECTIONS, typestore
from storm_core.bags.output_bag import write_output_bag
from storm_core.bags.trajectory import read_tum
from storm_core.bags.true_poses import TruthPose
from storm_core.geometry.covariance import from_ros, to_ros
from storm_core.geometry.pose import se3_exp
from storm_core.report.tum import write_truth_tum, write_tum
from storm_core.types import Evidence, ObjectOutput, Reason, StepOutput, Transition
from test.real_data import ROOT
from test.synthetic import textured_box
from test.unit.recordings.small_bags import START, track

MODELS = {"1": textured_box("1"), "cup": textured_box("cup", (0.1, 0.1, 0.1))}
COVARIANCE = np.diag([1e-6, 2e-6, 3e-6, 1e-4, 2e-4, 3e-4])


def item(name: str, stamp: int, pose: np.ndarray | None, **changes: object) -> ObjectOutput:
    return replace(ObjectOutput(
        object_name=name, stamp_ns=stamp, state="TRACKING", reason=Reason.VERIFIED, cam_from_obj=pose,
        covariance=None if pose is None else COVARIANCE, probability=0.9, trusted=pose is not None, coasting=False,
        evidence=Evidence(inlier=0.8)), **changes)


def outputs() -> list[StepOutput]:
    """Object 1 is trusted, the cup coasts, then is lost; the last frame is dropped."""
    (a, first), (b, second), (c, _) = list(track().items())[:3]
    lost = Transition(object_name="cup", stamp_ns=b, before="SUSPECT", after="LOST", reason=Reason.SUSPECT_TIMEOUT)
    return [
        StepOutput(stamp_ns=a, transitions=(), stage_ms={"total": 5.0}, objects=(
            item("1", a, first), item("cup", a, second, trusted=False, coasting=True, state="SUSPECT"))),
        StepOutput(stamp_ns=b, transitions=(lost,), stage_ms={"end_to_end": 12.5}, objects=(
            item("1", b, second), item("cup", b, None, state="LOST", reason=Reason.SUSPECT_TIMEOUT))),
        StepOutput(stamp_ns=c, transitions=(), stage_ms={}, objects=())]


def read(path: Path) -> dict[str, list[tuple[int, object]]]:
    """topic -> (time of recording, message)."""
    found: dict[str, list[tuple[int, object]]] = {}
    with AnyReader([path]) as reader:
        for connection, time, raw in reader.messages():
            found.setdefault(connection.topic, []).append((time, reader.deserialize(raw, connection.msgtype)))
    return found


def test_topics_types_and_stamps_of_the_nodes(tmp_path: Path) -> None:
    write_output_bag(tmp_path / "output", outputs(), MODELS, frame_id="cam")
    with AnyReader([tmp_path / "output"]) as reader:
        assert {c.topic: c.msgtype for c in reader.connections} == {
            "/object_pose": "geometry_msgs/msg/PoseStamped", "/object_pose/detections": DETECTIONS,
            "/object_pose/obj_1/pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
            "/object_pose/cup/pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
            "/object_pose/status": "diagnostic_msgs/msg/DiagnosticArray", "/tf": "tf2_msgs/msg/TFMessage"}
    found = read(tmp_path / "output")
    assert {topic: len(messages) for topic, messages in found.items()} == {
        "/object_pose": 2, "/object_pose/detections": 2, "/object_pose/obj_1/pose": 2, "/object_pose/cup/pose": 1,
        "/object_pose/status": 2, "/tf": 2}
    stamps = list(track())
    for topic in ("/object_pose", "/object_pose/detections", "/object_pose/status", "/object_pose/obj_1/pose"):
        assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in found[topic]] == stamps[:2]
        assert [time for time, _ in found[topic]] == [stamps[0], stamps[1] + 12_500_000]
        assert {m.header.frame_id for _, m in found[topic]} == {"cam"}


def test_what_is_coasting_is_not_in_tf_and_not_sure(tmp_path: Path) -> None:
    write_output_bag(tmp_path / "output", outputs(), MODELS, frame_id="cam", primary="cup")
    found = read(tmp_path / "output")
    assert "/object_pose" not in found, "the primary object was never trusted"
    assert [[t.child_frame_id for t in m.transforms] for _, m in found["/tf"]] == [["1"], ["1"]]
    first = {d.id: d.results[0].hypothesis for d in found["/object_pose/detections"][0][1].detections}
    assert (first["1"].class_id, first["1"].score, first["cup"].score) == ("1", 0.9, 0.5)
    status = {s.name: s for s in found["/object_pose/status"][1][1].status}
    assert (status["1"].level, status["cup"].level) == (0, 2)
    values = {v.key: v.value for v in status["cup"].values}
    assert {"state": "LOST", "previous_state": "SUSPECT", "trusted": "false", "reason": "suspect_timeout",
            "evidence.inlier": "0.8"}.items() <= values.items()


def test_pose_box_and_covariance(tmp_path: Path) -> None:
    write_output_bag(tmp_path / "output", outputs(), MODELS, frame_id="cam")
    pose = next(iter(track().values()))
    found = read(tmp_path / "output")
    _, message = found["/object_pose/obj_1/pose"][0]
    _, array = found["/object_pose/detections"][0]
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    assert np.allclose([at.x, at.y, at.z], pose[:3, 3])
    assert np.allclose(Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix(), pose[:3, :3])
    assert np.allclose(from_ros(pose, message.pose.covariance.reshape(6, 6)), COVARIANCE, atol=1e-12)
    box = array.detections[0].bbox
    assert np.allclose([box.size.x, box.size.y, box.size.z], MODELS["1"].size)
    assert np.allclose([box.center.position.x, box.center.position.y, box.center.position.z],
                       pose[:3, :3] @ MODELS["1"].center + pose[:3, 3])


def test_covariance_of_the_origin() -> None:
    """Samples of left increments move the object's origin as the covariance in ROS's form says."""
    pose, rng = se3_exp([0.2, 0.1, 0.8, 0.4, 0.1, 0]), np.random.default_rng(0)
    moved = se3_exp(rng.multivariate_normal(np.zeros(6), COVARIANCE, 20_000)) @ pose
    sampled = np.cov((moved[:, :3, 3] - pose[:3, 3]).T)
    stated = to_ros(pose, COVARIANCE)
    assert np.allclose(sampled, stated[:3, :3], atol=0.05 * np.abs(stated[:3, :3]).max())
    assert np.allclose(from_ros(pose, stated), COVARIANCE) and np.allclose(stated, stated.T)


def test_the_same_outputs_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_output_bag(tmp_path / name / "output", outputs(), MODELS, frame_id="cam")
    for file in ("output.mcap", "metadata.yaml"):
        assert (tmp_path / "a" / "output" / file).read_bytes() == (tmp_path / "b" / "output" / file).read_bytes()


@pytest.mark.parametrize("name", ["Detection3DArray", "Detection3D", "ObjectHypothesisWithPose", "ObjectHypothesis",
                                  "BoundingBox3D"])
def test_definitions_agree_with_those_of_the_nodes(name: str) -> None:
    text = (ROOT / "storm_ros/interfaces/definitions/vision_msgs/msg" / f"{name}.msg").read_text()
    kind = f"vision_msgs/msg/{name}"
    assert typestore().fielddefs[kind] == get_types_from_msg(text, kind)[kind]


def test_trajectories_are_what_evo_reads(tmp_path: Path) -> None:
    """stamp with nine digits, strictly increasing; unit quaternions; estimate and truth under the same stamps."""
    items = [item("1", s, None if k == 2 else pose) for k, (s, pose) in enumerate(track().items())]
    truths = [None if k == 4 else (TruthPose(cam_from_obj=pose, good=k != 5),)
              for k, pose in enumerate(track().values())]
    write_tum(tmp_path / "1.tum", items)
    write_truth_tum(tmp_path / "1_gt.tum", items, truths)
    stamps = [i.stamp_ns for i in items]
    for file, left_out in (("1.tum", {2}), ("1_gt.tum", {4, 5})):
        lines = (tmp_path / file).read_text().splitlines()
        assert lines[0].startswith("#") and all(re.fullmatch(r"\d+\.\d{9}( -?\d+\.\d{9}){7}", n) for n in lines[1:])
        numbers = np.array([[float(v) for v in n.split()] for n in lines[1:]])
        assert (np.diff(numbers[:, 0]) > 0).all() and np.abs(np.linalg.norm(numbers[:, 4:], axis=1) - 1).max() < 1e-8
        assert list(read_tum(tmp_path / file)) == [s for k, s in enumerate(stamps) if k not in left_out]


def test_truth_of_several_instances_is_the_one_that_was_tracked(tmp_path: Path) -> None:
    near, far = se3_exp([0, 0, 0.5, 0, 0, 0]), se3_exp([0.3, 0, 0.5, 0, 0, 0])
    both = (TruthPose(cam_from_obj=far), TruthPose(cam_from_obj=near))
    items = [item("1", START, near), item("1", START + 1, None)]
    write_truth_tum(tmp_path / "a.tum", items, [both, both])
    read_back = read_tum(tmp_path / "a.tum")
    assert list(read_back) == [START] and np.allclose(read_back[START], near)
