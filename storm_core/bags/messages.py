"""Core values as ROS messages that `rosbags` serialises (no ROS needed). Pure functions of one typestore."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from storm_core.bags.message_types import DETECTIONS, typestore
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.covariance import to_ros

Mat4 = NDArray[np.float64]


def header(stamp_ns: int, frame_id: str) -> Any:
    return _make("std_msgs/msg/Header", _make("builtin_interfaces/msg/Time", *divmod(stamp_ns, 10**9)), frame_id)


def image(at: Any, pixels: NDArray[Any], encoding: str) -> Any:
    """Image of (H, W) or (H, W, C) pixels that already have the encoding's type."""
    data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
    h, w = pixels.shape[:2]
    return _make("sensor_msgs/msg/Image", at, h, w, encoding, 0, data.size // h, data)


def camera_info(at: Any, camera: PinholeCamera) -> Any:
    """CameraInfo of a rectified image."""
    roi = _make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    return _make("sensor_msgs/msg/CameraInfo", at, camera.height, camera.width, "plumb_bob", np.zeros(5),
                 camera.matrix.reshape(9), np.eye(3).reshape(9), projection.reshape(12), 0, 0, roi)


def pose(matrix: Mat4) -> Any:
    return _make("geometry_msgs/msg/Pose", _make("geometry_msgs/msg/Point", *_numbers(matrix[:3, 3])),
                 _make("geometry_msgs/msg/Quaternion", *_quaternion(matrix)))


def pose_stamped(at: Any, matrix: Mat4) -> Any:
    return _make("geometry_msgs/msg/PoseStamped", at, pose(matrix))


def pose_with_covariance(matrix: Mat4, covariance: NDArray[np.float64] | None) -> Any:
    """covariance: in the core's form; None becomes zeros, which mean "not known" in ROS."""
    values = np.zeros((6, 6)) if covariance is None else to_ros(matrix, covariance)
    return _make("geometry_msgs/msg/PoseWithCovariance", pose(matrix), np.ascontiguousarray(values).reshape(36))


def pose_with_covariance_stamped(at: Any, matrix: Mat4, covariance: NDArray[np.float64] | None) -> Any:
    return _make("geometry_msgs/msg/PoseWithCovarianceStamped", at, pose_with_covariance(matrix, covariance))


def transform(at: Any, child: str, matrix: Mat4) -> Any:
    """header frame <- child frame."""
    return _make("geometry_msgs/msg/TransformStamped", at, child, _make(
        "geometry_msgs/msg/Transform", _make("geometry_msgs/msg/Vector3", *_numbers(matrix[:3, 3])),
        _make("geometry_msgs/msg/Quaternion", *_quaternion(matrix))))


def transforms(items: Iterable[Any]) -> Any:
    return _make("tf2_msgs/msg/TFMessage", list(items))


def detection(at: Any, name: str, score: float, posed: Any, center: Mat4, size: NDArray[np.float64]) -> Any:
    """One object; posed: its PoseWithCovariance. center (4, 4), size (3,) [m]: its bounding box."""
    result = _make("vision_msgs/msg/ObjectHypothesisWithPose",
                   _make("vision_msgs/msg/ObjectHypothesis", name, float(score)), posed)
    box = _make("vision_msgs/msg/BoundingBox3D", pose(center), _make("geometry_msgs/msg/Vector3", *_numbers(size)))
    return _make("vision_msgs/msg/Detection3D", at, [result], box, name)


def detections(at: Any, items: Iterable[Any]) -> Any:
    return _make(DETECTIONS, at, list(items))


def status(name: str, level: int, message: str, values: Mapping[str, str]) -> Any:
    pairs = [_make("diagnostic_msgs/msg/KeyValue", key, value) for key, value in values.items()]
    return _make("diagnostic_msgs/msg/DiagnosticStatus", level, name, message, "", pairs)


def diagnostics(at: Any, items: Iterable[Any]) -> Any:
    return _make("diagnostic_msgs/msg/DiagnosticArray", at, list(items))


def _make(kind: str, *fields: Any) -> Any:
    return typestore().types[kind](*fields)


def _numbers(values: NDArray[np.float64]) -> list[float]:
    return [float(v) for v in values]


def _quaternion(matrix: Mat4) -> list[float]:
    """x, y, z, w."""
    return _numbers(Rotation.from_matrix(matrix[:3, :3]).as_quat())
