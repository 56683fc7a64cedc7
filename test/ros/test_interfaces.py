"""The message types that we build: identical on the wire to those of a full ROS installation."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from storm_core.errors import SetupError
from storm_ros.interfaces import PACKAGES, missing
from storm_ros.interfaces.build import build_digest, build_missing
from storm_ros.interfaces.definition import DEFINITIONS, installed_dependencies, read_package
from storm_ros.interfaces.toolchain import find_toolchain

TF_MESSAGE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
"""As published with every ROS since Iron."""

built = pytest.mark.skipif(bool(missing(("rclpy",)) or missing()), reason="rclpy or the message types are not installed")


def message_names():
    return [f"{name}/msg/{message.stem}" for name in PACKAGES for message in read_package(DEFINITIONS / name).messages]


def rosbags_store():
    """rosbags' own types plus the definitions of ours that it lacks."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_KILTED)
    new = {}
    for path in (DEFINITIONS / "vision_msgs" / "msg").glob("*.msg"):
        new |= get_types_from_msg(path.read_text(), f"vision_msgs/msg/{path.stem}")
    store.register(new)
    return store


def test_rosbags_own_transform_message_has_the_published_hash():
    pytest.importorskip("rosbags")
    assert rosbags_store().hash_rihs01("tf2_msgs/msg/TFMessage") == TF_MESSAGE_HASH


@built
@pytest.mark.parametrize("name", message_names())
def test_type_hashes_equal_an_independent_computation(name):
    pytest.importorskip("rosbags")
    package, _, message = name.split("/")
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    paths = [Path(prefix) / "share" / package / "msg" / f"{message}.json" for prefix in prefixes]
    description = json.loads(next(path for path in paths if path.is_file()).read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[name] == rosbags_store().hash_rihs01(name)


@built
def test_messages_survive_the_wire_and_read_the_same_elsewhere():
    pytest.importorskip("rosbags")
    from geometry_msgs.msg import TransformStamped
    from rclpy.serialization import deserialize_message, serialize_message
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = "mug", 0.75
    result.pose.pose.position.z = 0.5
    result.pose.covariance[35] = 2.0
    array = Detection3DArray(detections=[Detection3D(id="mug", results=[result])])
    array.header.frame_id = "camera"
    raw = serialize_message(array)
    assert deserialize_message(raw, Detection3DArray) == array
    other = rosbags_store().deserialize_cdr(raw, "vision_msgs/msg/Detection3DArray")
    assert other.header.frame_id == "camera"
    assert other.detections[0].results[0].hypothesis.score == 0.75
    assert other.detections[0].results[0].pose.covariance[35] == 2.0
    tf = TFMessage(transforms=[TransformStamped(child_frame_id="mug")])
    raw = serialize_message(tf)
    assert rosbags_store().deserialize_cdr(raw, "tf2_msgs/msg/TFMessage").transforms[0].child_frame_id == "mug"


@built
def test_building_again_does_nothing():
    lines = []
    assert build_missing(lines.append) == ()
    assert lines == []


def test_the_digest_follows_the_definitions(tmp_path):
    pytest.importorskip("rclpy")
    shutil.copytree(DEFINITIONS / "tf2_msgs", tmp_path / "tf2_msgs")
    before = build_digest(read_package(tmp_path / "tf2_msgs"))
    assert before == build_digest(read_package(DEFINITIONS / "tf2_msgs"))
    message = tmp_path / "tf2_msgs" / "msg" / "TFMessage.msg"
    message.write_text(message.read_text() + "uint8 extra\n")
    assert build_digest(read_package(tmp_path / "tf2_msgs")) != before


def test_a_missing_compiler_is_named_with_its_remedy(tmp_path):
    with pytest.raises(SetupError, match=r"no compiler 'gcc'.*sudo apt install gcc g\+\+"):
        find_toolchain({"PATH": str(tmp_path)})
    with pytest.raises(SetupError, match="no compiler 'my-cc'"):
        find_toolchain({"PATH": str(tmp_path), "CC": "my-cc"})


def test_missing_python_headers_are_named_with_their_remedy(tmp_path):
    for name in ("gcc", "g++"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(SetupError, match=r"Python\.h is missing.*apt install python3-dev"):
        find_toolchain({"PATH": str(tmp_path)}, include=tmp_path)


def test_incomplete_definitions_and_dependencies_are_named(tmp_path):
    with pytest.raises(SetupError, match=re.escape(str(tmp_path / "package.xml"))):
        read_package(tmp_path)
    (tmp_path / "package.xml").write_text("<package><name>empty</name></package>")
    with pytest.raises(SetupError, match=r"holds no \.msg file"):
        read_package(tmp_path)
    with pytest.raises(SetupError, match="pip install ros-std-msgs"):
        installed_dependencies(("std_msgs",), tmp_path)


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    """The whole build with a compiler that refuses: one clear error, and not one file in the prefix."""
    pytest.importorskip("rosidl_generator_py")
    from storm_ros.interfaces import build

    prefix = tmp_path / "prefix"
    (prefix / "include").mkdir(parents=True)
    (prefix / "share").symlink_to(Path(sys.prefix) / "share")
    for name in ("gcc", "g++"):
        compiler = tmp_path / name
        compiler.write_text("#!/bin/sh\necho 'fatal error: broken.h' >&2\nexit 4\n")
        compiler.chmod(0o755)
        monkeypatch.setenv({"gcc": "CC", "g++": "CXX"}[name], str(compiler))
    monkeypatch.setattr(build, "_foreign", lambda package: False)
    monkeypatch.setattr(build, "running_prefix", lambda: build.Prefix(prefix, prefix / "site"))
    with pytest.raises(SetupError, match=r"gcc failed with exit code 4.*broken\.h|g\+\+ failed with exit code 4"):
        build_missing()
    assert not (prefix / "site").exists() and not (prefix / "lib").exists()
