"""What `storm doctor` says about ROS on this machine; pure functions of what was found."""

import os
import shutil
import sysconfig
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from storm_core.cli.health import Check
from storm_core.errors import SetupError
from storm_ros.dds import (
    PROFILE_VARIABLES,
    SMALLEST_SEGMENT,
    has_fast_dds_2,
    segment_size,
    shared_memory_size,
    uses_fast_dds,
)
from storm_ros.interfaces import missing
from storm_ros.resources import share_file
from storm_ros.shared_memory import abandoned_segments, size_of

_SOCKET_BUFFER = 4 * 2**20
_LAST_SAFE_DOMAIN = 101


def check_rclpy(lacking: tuple[str, ...]) -> Check:
    """Args: lacking: result of `missing(("rclpy",))`."""
    if lacking:
        return Check("problem", "rclpy is not installed: the nodes cannot run (offline commands can)",
                     "pip install 'ros-rclpy[fastrtps]', or source /opt/ros/<distro>/setup.bash")
    return Check("ok", "rclpy is installed")


def check_messages(lacking: tuple[str, ...], ros_distro: str = "") -> Check:
    """Args: lacking: result of `missing()`; ros_distro: ROS_DISTRO of a sourced installation, else empty."""
    if not lacking:
        return Check("ok", "all message types are installed")
    remedy = "python -m storm_ros.interfaces"
    if ros_distro:
        remedy = "sudo apt install " + " ".join(f"ros-{ros_distro}-{name.replace('_', '-')}" for name in lacking)
    return Check("problem", f"message types not installed: {', '.join(lacking)}", remedy)


def check_compilers(found: Mapping[str, str | None], python_header: Path, needed: bool) -> Check:
    """gcc, g++ and Python.h, which the message build step needs once.

    Args:
      found: path by compiler name; None where there is none.
      python_header: where Python.h should be.
      needed: whether message types still have to be built.
    """
    lacking = [name for name, path in found.items() if path is None]
    packages = list(lacking)
    if not python_header.is_file():
        lacking.append("Python.h")
        packages.append("python3-dev")
    if not lacking:
        return Check("ok", f"{', '.join(found)} and Python.h are there")
    use = "needed to build the message types" if needed else "needed only when message types must be built again"
    return Check("problem" if needed else "warning", f"{', '.join(lacking)} missing: {use}",
                 f"sudo apt install {' '.join(packages)}")


def check_middleware(env: Mapping[str, str]) -> Check:
    """RMW_IMPLEMENTATION: our settings for images are for Fast DDS."""
    name = env.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if uses_fast_dds(env):
        return Check("ok", f"middleware {name}")
    return Check("warning", f"RMW_IMPLEMENTATION={name}: STORM's settings for images apply to Fast DDS only",
                 "unset RMW_IMPLEMENTATION, or give this middleware buffers of tens of megabytes yourself")


def check_profile(env: Mapping[str, str]) -> Check:
    """The Fast DDS profile file: the user's, if one is named, must have room for images."""
    named = [(name, env[name]) for name in PROFILE_VARIABLES if env.get(name)]
    if not uses_fast_dds(env):
        return Check("ok", "this middleware does not read Fast DDS profiles")
    if not named:
        variable = PROFILE_VARIABLES[1 if has_fast_dds_2(env) else 0]
        return Check("ok", "STORM's Fast DDS profile for images is used; start camera drivers and players with "
                           f"{variable}={_shipped_profile()} too")
    variable, path = named[0]
    remedy = f"unset {variable}, or copy the transports of {_shipped_profile()} into it"
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        return Check("problem", f"{variable}={path} cannot be read: {error.strerror}", f"unset {variable}")
    except ElementTree.ParseError as error:
        return Check("problem", f"{variable}={path} is not valid XML: {error}", remedy)
    sizes = [e.text or "" for e in root.iter() if e.tag.rpartition("}")[2] == "segment_size"]
    if max((int(size) for size in sizes if size.strip().isdigit()), default=0) < SMALLEST_SEGMENT:
        return Check("warning", f"{variable}={path} gives images no shared memory of at least "
                                f"{SMALLEST_SEGMENT // 2**20} MB: up to 83 % of the frames get lost", remedy)
    return Check("ok", f"Fast DDS profile {path}")


def check_transports(env: Mapping[str, str]) -> Check:
    """FASTDDS_BUILTIN_TRANSPORTS: our profile replaces it, but a camera driver started beside us obeys it."""
    value = env.get("FASTDDS_BUILTIN_TRANSPORTS", "")
    if not value or not uses_fast_dds(env):
        return Check("ok", "no other Fast DDS transports are forced")
    return Check("warning", f"FASTDDS_BUILTIN_TRANSPORTS={value}: a camera driver started with it loses image frames",
                 "unset FASTDDS_BUILTIN_TRANSPORTS, and start the driver with FASTDDS_DEFAULT_PROFILES_FILE="
                 f"{_shipped_profile()}")


def check_shared_memory(size: int | None, env: Mapping[str, str]) -> Check:
    """Args: size: of /dev/shm in bytes, None when there is none."""
    if not uses_fast_dds(env):
        return Check("ok", "this middleware does not need /dev/shm")
    remedy = "start the container with --shm-size=1g, or: sudo mount -o remount,size=1g /dev/shm"
    if size is None:
        return Check("warning", "there is no /dev/shm: images travel by UDP and may get lost", remedy)
    segment = segment_size(size)
    if segment is None:
        text = f"/dev/shm has only {size / 2**20:.0f} MB: images travel by UDP and may get lost"
        return Check("warning", text, remedy)
    return Check("ok", f"/dev/shm has {size / 2**20:.0f} MB: {segment // 2**20} MB for each node")


def check_leftovers(segments: Sequence[Path]) -> Check:
    """Args: segments: shared memory of processes that were killed."""
    if not segments:
        return Check("ok", "no shared memory was left behind by killed nodes")
    size = sum(map(size_of, segments)) / 2**20
    files = " ".join(f"{path}*" for path in segments)
    return Check("warning", f"{len(segments)} killed process(es) left {size:.0f} MB in /dev/shm", f"rm {files}")


def check_socket_buffers(maximum: int | None) -> Check:
    """Args: maximum: net.core.rmem_max in bytes, None when unknown. Matters between hosts only."""
    if maximum is None or maximum >= _SOCKET_BUFFER:
        return Check("ok", "socket buffers are large enough")
    return Check("warning", f"net.core.rmem_max is {maximum} bytes: images from other hosts may get lost",
                 f"sudo sysctl -w net.core.rmem_max={_SOCKET_BUFFER} net.core.wmem_max={_SOCKET_BUFFER}")


def check_discovery(env: Mapping[str, str]) -> Check:
    """ROS_DOMAIN_ID and the variables that keep nodes from seeing other hosts."""
    domain = env.get("ROS_DOMAIN_ID", "") or "0"
    if not domain.isdigit() or int(domain) > 232:
        return Check("problem", f"ROS_DOMAIN_ID={domain} is not a number from 0 to 232", "export ROS_DOMAIN_ID=0")
    if int(domain) > _LAST_SAFE_DOMAIN:
        return Check("warning", f"ROS_DOMAIN_ID={domain} uses ports that Linux also gives to programs",
                     f"choose a domain from 0 to {_LAST_SAFE_DOMAIN}")
    if env.get("ROS_LOCALHOST_ONLY") == "1" or env.get("ROS_AUTOMATIC_DISCOVERY_RANGE") in ("LOCALHOST", "OFF"):
        name = "ROS_LOCALHOST_ONLY" if env.get("ROS_LOCALHOST_ONLY") == "1" else "ROS_AUTOMATIC_DISCOVERY_RANGE"
        return Check("warning", f"{name}={env[name]}: nodes on other hosts cannot be seen",
                     f"unset {name} when the camera is on another host")
    return Check("ok", f"domain {domain}, other hosts can be seen")


def ros_checks(env: Mapping[str, str] = os.environ) -> dict[str, Check]:
    """All checks on this machine, by title."""
    lacking = missing()
    compilers = {name: shutil.which(env.get(variable) or name, path=env.get("PATH"))
                 for variable, name in (("CC", "gcc"), ("CXX", "g++"))}
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return {
        "rclpy": check_rclpy(missing(("rclpy",))),
        "message types": check_messages(lacking, env.get("ROS_DISTRO", "")),
        "compilers": check_compilers(compilers, header, needed=bool(lacking) and "ROS_DISTRO" not in env),
        "middleware": check_middleware(env),
        "dds profile": check_profile(env),
        "transports": check_transports(env),
        "shared memory": check_shared_memory(shared_memory_size(), env),
        "leftovers": check_leftovers(abandoned_segments()),
        "socket buffers": check_socket_buffers(_kernel_number("/proc/sys/net/core/rmem_max")),
        "discovery": check_discovery(env),
    }


def _shipped_profile() -> str:
    try:
        return str(share_file("config/fastdds.xml"))
    except SetupError:
        return "STORM's config/fastdds.xml"


def _kernel_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
