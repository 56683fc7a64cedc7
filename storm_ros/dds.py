"""The process environment that rclpy reads when it starts: Fast DDS profile, middleware, log folder."""

import importlib.metadata
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from storm_ros.resources import share_file

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Name of the profile variable since Fast DDS 3, and before it; the old one makes Fast DDS 3 print a warning."""

FULL_SEGMENT = 64 * 2**20
"""Shared memory per participant in the shipped profile [bytes]."""

SMALLEST_SEGMENT = 4 * 2**20
"""A segment that still holds two VGA colour images and their depth [bytes]."""

_FAST_DDS_2_DISTROS = ("humble", "iron", "jazzy")
_JAZZY_RCLPY = 7
_PARTICIPANTS = 10
"""Processes that share /dev/shm: our nodes, a camera driver, a viewer."""


def prepare_environment(env: MutableMapping[str, str] = os.environ) -> MutableMapping[str, str]:
    """Set what a node needs and the user has not set; call it before rclpy.init().

    Works for `storm up`, `ros2 launch` and a plain `ros2 run` alike. A profile or middleware chosen by the user stays.

    Args:
      env: changed in place.

    Returns:
      env.
    """
    # A sourced ROS installation has its own default middleware, which its other nodes use as well.
    if "ROS_DISTRO" not in env:
        env.setdefault("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if uses_fast_dds(env) and not user_profile(env):
        env[PROFILE_VARIABLES[1 if has_fast_dds_2(env) else 0]] = str(profile_for(shared_memory_size()))
    # rcl refuses to start when it can find no folder for its log files.
    if not any(env.get(name) for name in ("HOME", "ROS_HOME", "ROS_LOG_DIR")):
        env["ROS_LOG_DIR"] = str(_own_folder() / "log")
    return env


def uses_fast_dds(env: Mapping[str, str]) -> bool:
    """Whether the middleware is Fast DDS, named or by default."""
    return env.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps")


def has_fast_dds_2(env: Mapping[str, str]) -> bool:
    """Whether the middleware dates from before Fast DDS 3: ROS 2 Jazzy and older, from apt or from PyPI."""
    if "ROS_DISTRO" in env:
        return env["ROS_DISTRO"] in _FAST_DDS_2_DISTROS
    try:
        return int(importlib.metadata.version("ros-rclpy").split(".")[0]) <= _JAZZY_RCLPY
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False


def user_profile(env: Mapping[str, str]) -> str | None:
    """The profile file that the environment already names, ours or the user's."""
    return next((env[name] for name in PROFILE_VARIABLES if env.get(name)), None)


def shared_memory_size(folder: str = "/dev/shm") -> int | None:
    """Size of the shared memory file system in bytes; None when there is none."""
    try:
        return shutil.disk_usage(folder).total
    except OSError:
        return None


def segment_size(shared_memory: int | None) -> int | None:
    """Bytes of shared memory per participant; None when shared memory is too small for images."""
    if shared_memory is None:
        return None
    # Whole megabytes: a segment of odd size would only make the generated files differ from machine to machine.
    share = shared_memory // _PARTICIPANTS // 2**20 * 2**20
    return None if share < SMALLEST_SEGMENT else min(share, FULL_SEGMENT)


def profile_for(shared_memory: int | None) -> Path:
    """The shipped profile, or a copy of it that fits a small /dev/shm (a container's default is 64 MB)."""
    shipped = share_file("config/fastdds.xml")
    size = segment_size(shared_memory)
    if size == FULL_SEGMENT:
        return shipped
    adapted = _own_folder() / f"fastdds_{size or 'udp'}.xml"
    text = profile_text(shipped.read_text(), size)
    # Written aside and renamed: other nodes starting at this moment read the same file.
    with tempfile.NamedTemporaryFile("w", dir=adapted.parent, suffix=".xml", delete=False) as handle:
        handle.write(text)
    os.replace(handle.name, adapted)
    return adapted


def profile_text(shipped: str, size: int | None) -> str:
    """The profile with another segment size, or without shared memory when size is None."""
    if size is None:
        shipped = re.sub(r"\s*<transport_descriptor>\s*<transport_id>storm_shm<.*?</transport_descriptor>", "", shipped,
                         count=1, flags=re.DOTALL)
        return re.sub(r"\s*<transport_id>storm_shm</transport_id>", "", shipped)
    shipped = re.sub(r"<segment_size>\d+<", f"<segment_size>{size}<", shipped)
    message = min(size // 2, 8 * 2**20)
    return re.sub(r"<maxMessageSize>\d+<", f"<maxMessageSize>{message}<", shipped)


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"storm_ros_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
