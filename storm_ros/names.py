"""Names of topics and services. Relative, so that remapping and namespaces work; /tf and /diagnostics are ROS-wide."""

import re
from collections.abc import Iterable

from storm_core.errors import ConfigError

IMAGE = "image"
DEPTH_IMAGE = "depth_image"
CAMERA_INFO = "camera_info"
DEPTH_CAMERA_INFO = "depth_camera_info"

OBJECT_POSE = "object_pose"
DETECTIONS = "object_pose/detections"
STATUS = "object_pose/status"
OVERLAY = "object_pose/overlay"
MARKERS = "object_pose/markers"
TF = "/tf"
TF_STATIC = "/tf_static"
DIAGNOSTICS = "/diagnostics"
CLICKED_POINT = "/clicked_point"

REQUESTS = "storm/requests"
ANSWERS = "storm/answers"
LOCALIZATIONS = "storm/localizations"
TRACKS = "storm/tracks"
JUDGEMENTS = "storm/judgements"
REFINED = "storm/refined"
START = "storm/start"
ROSTER = "storm/roster"
RELOAD = "~/reload_models"


def token(object_name: str) -> str:
    """The object's name inside topic and service names, where ROS allows letters, digits and underscores only.

    BOP ids start with a digit, which ROS forbids: object `1` becomes `obj_1`.
    """
    text = re.sub(r"[^A-Za-z0-9_]", "_", object_name)
    text = re.sub(r"__+", "_", text)
    return text if text[:1].isalpha() else f"obj_{text.lstrip('_')}"


def require_distinct(object_names: Iterable[str]) -> None:
    """Raise ConfigError when two objects would share their topics."""
    seen: dict[str, str] = {}
    for name in object_names:
        other = seen.setdefault(token(name), name)
        if other != name:
            raise ConfigError(f"objects {other!r} and {name!r} would both publish on {pose_topic(name)}; rename one")


def pose_topic(object_name: str) -> str:
    return f"{OBJECT_POSE}/{token(object_name)}/pose"


def mask_topic(object_name: str) -> str:
    return f"storm/{token(object_name)}/mask"


def mask_hint_topic(object_name: str) -> str:
    return f"{token(object_name)}/mask_hint"


def box_hint_topic(object_name: str) -> str:
    return f"{token(object_name)}/box_hint"


def service(object_name: str, action: str) -> str:
    """Private service of the supervisor: supervisor_node/<object>/<action>."""
    return f"~/{token(object_name)}/{action}"


def particles_topic(object_name: str) -> str:
    return f"~/{token(object_name)}/particles"


def modes_topic(object_name: str) -> str:
    return f"~/{token(object_name)}/modes"


def refined_topic(object_name: str) -> str:
    return f"~/{token(object_name)}/pose"
