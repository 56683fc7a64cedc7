"""The message types that we build: identical on the wire to those of a full ROS installation."""

import functools
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

PUBLISHED = {
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "vision_msgs/msg/BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "vision_msgs/msg/BoundingBox2DArray": "2464e82838009386d371b523211c21c91d74d313fcdd6788223c531d621cf691",
    "vision_msgs/msg/BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "vision_msgs/msg/BoundingBox3DArray": "a81938db9576b10c2eecd7c5a5da3eac496efd00221b25ed051dfbc81fb56da6",
    "vision_msgs/msg/Classification": "f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143",
    "vision_msgs/msg/Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "vision_msgs/msg/Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/msg/ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/msg/ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/msg/Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "vision_msgs/msg/Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "vision_msgs/msg/VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "vision_msgs/msg/VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}
"""RIHS01 hashes of tf2_msgs (since Iron) and of the original vision_msgs 4.1.1, computed with rosbags."""

built = pytest.mark.skipif(bool(missing(("rclpy",)) or missing()), reason="rclpy or the message types are missing")


def message_names():
    return [f"{name}/msg/{message.stem}" for name in PACKAGES for message in read_package(DEFINITIONS / name).messages]


def test_every_message_has_a_published_hash():
    assert sorted(message_names()) == sorted(PUBLISHED)


@functools.cache
def rosbags_store():
    """rosbags' own types plus the definitions of ours that it lacks."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_KILTED)
    new = {}
    for path in (DEFINITIONS / "vision_msgs" / "msg").glob("*.msg"):
        new |= get_types_from_msg(path.read_text(), f"vision_msgs/msg/{path.stem}")
    store.register(new)
    return store


@pytest.mark.parametrize("name", PUBLISHED)
def test_definitions_have_the_published_type_hash(name):
    pytest.importorskip("rosbags")
    assert rosbags_store().hash_rihs01(name) == f"RIHS01_{PUBLISHED[name]}"


@built
@pytest.mark.parametrize("name", PUBLISHED)
def test_built_types_have_the_published_type_hash(name):
    package, _, message = name.split("/")
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    paths = [Path(prefix) / "share" / package / "msg" / f"{message}.json" for prefix in prefixes]
    description = json.loads(next(path for path in paths if path.is_file()).read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert hashes[name] == f"RIHS01_{PUBLISHED[name]}"


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
    build_missing()  # our own code may have changed since it was installed
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
