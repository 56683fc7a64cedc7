"""What `storm doctor` says about ROS on machines that we only pretend to have."""

from pathlib import Path

import pytest

from storm_ros.checks import (
    check_compilers,
    check_discovery,
    check_leftovers,
    check_messages,
    check_middleware,
    check_profile,
    check_rclpy,
    check_shared_memory,
    check_socket_buffers,
    check_transports,
    ros_checks,
)
from storm_ros.dds import PROFILE_VARIABLES
from storm_ros.resources import share_file

HERE = Path(__file__)


def test_a_machine_without_gcc_is_told_which_package_to_install(tmp_path):
    check = check_compilers({"gcc": None, "g++": "/usr/bin/g++"}, tmp_path / "Python.h", needed=True)
    assert check.status == "problem"
    assert "gcc" in check.text and "Python.h" in check.text and "g++" not in check.text
    assert check.remedy == "sudo apt install gcc python3-dev"
    assert check_compilers({"gcc": None}, HERE, needed=False).status == "warning"
    assert check_compilers({"gcc": "/usr/bin/gcc"}, HERE, needed=True).status == "ok"


def test_missing_messages_are_built_without_ros_and_installed_with_it():
    assert check_messages(()).status == "ok"
    assert check_messages(("vision_msgs",)).remedy == "python -m storm_ros.interfaces"
    assert check_messages(("vision_msgs",), "humble").remedy == "sudo apt install ros-humble-vision-msgs"
    assert check_rclpy(("rclpy",)).status == "problem"


@pytest.mark.parametrize("value", ["UDPv4", "LARGE_DATA", "DEFAULT"])
def test_forced_transports_are_named(value):
    check = check_transports({"FASTDDS_BUILTIN_TRANSPORTS": value})
    assert check.status == "warning" and value in check.text and "unset FASTDDS_BUILTIN_TRANSPORTS" in check.remedy
    assert check_transports({}).status == "ok"


def test_another_middleware_is_named():
    assert check_middleware({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}).status == "warning"
    assert check_middleware({"RMW_IMPLEMENTATION": "rmw_fastrtps_cpp"}).status == "ok"


def test_a_profile_of_the_user_needs_room_for_images(tmp_path):
    small, broken = tmp_path / "small.xml", tmp_path / "broken.xml"
    small.write_text('<dds xmlns="http://www.eprosima.com"><segment_size>524288</segment_size></dds>')
    broken.write_text("<dds>")
    for variable in PROFILE_VARIABLES:
        assert check_profile({variable: str(small)}).status == "warning"
        assert "83 %" in check_profile({variable: str(small)}).text
        assert check_profile({variable: str(broken)}).status == "problem"
        assert check_profile({variable: str(tmp_path / "absent.xml")}).status == "problem"
        assert check_profile({variable: str(share_file("config/fastdds.xml"))}).status == "ok"
    assert check_profile({}).status == "ok"


@pytest.mark.parametrize(("megabytes", "status"), [(None, "warning"), (16, "warning"), (64, "ok"), (8000, "ok")])
def test_small_shared_memory_is_named(megabytes, status):
    check = check_shared_memory(None if megabytes is None else megabytes * 2**20, {})
    assert check.status == status
    assert ("--shm-size" in check.remedy) == (status == "warning")


def test_shared_memory_of_the_dead_is_named(tmp_path):
    segment = tmp_path / "fastdds_0123456789abcdef"
    segment.write_bytes(bytes(2**20))
    check = check_leftovers([segment])
    assert check.status == "warning" and "left 1 MB" in check.text and check.remedy == f"rm {segment}*"
    assert check_leftovers([]).status == "ok"
    segment.unlink()  # another process tidied up, or only the lock file was left
    assert check_leftovers([segment]).status == "warning"


def test_the_kernel_and_discovery_settings():
    assert check_socket_buffers(212992).status == "warning"
    assert check_socket_buffers(4194304).status == check_socket_buffers(None).status == "ok"
    assert check_discovery({"ROS_DOMAIN_ID": "233"}).status == "problem"
    assert check_discovery({"ROS_DOMAIN_ID": "abc"}).status == "problem"
    assert check_discovery({"ROS_DOMAIN_ID": "150"}).status == "warning"
    assert check_discovery({"ROS_LOCALHOST_ONLY": "1"}).status == "warning"
    assert check_discovery({}).status == "ok"


def test_every_complaint_comes_with_a_remedy():
    checks = ros_checks({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4", "ROS_DOMAIN_ID": "999", "PATH": ""})
    assert checks["transports"].status == "warning"
    assert checks["discovery"].status == "problem"
    assert checks["compilers"].status != "ok"
    for title, check in checks.items():
        assert check.text, title
        assert bool(check.remedy) == (check.status != "ok"), title
