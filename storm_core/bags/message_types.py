"""The message types that bags are read and written with: ROS 2 Humble's and the vision_msgs for poses of objects."""

from functools import cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

DETECTIONS = "vision_msgs/msg/Detection3DArray"

_VISION = {
    DETECTIONS: "std_msgs/Header header\nDetection3D[] detections\n",
    "vision_msgs/msg/Detection3D": ("std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\n"
                                    "string id\n"),
    "vision_msgs/msg/ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n",
}
"""Definitions that storm_ros builds for the nodes too; a test compares the two."""


@cache
def typestore() -> Typestore:
    """One store for everything read and written here."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in _VISION.items():
        store.register(get_types_from_msg(text, name))
    return store
