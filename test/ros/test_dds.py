"""The environment that nodes prepare for themselves."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from storm_ros import dds
from storm_ros.dds import FULL_SEGMENT, PROFILE_VARIABLES, prepare_environment, profile_for, segment_size
from storm_ros.resources import share_file

DDS = "{http://www.eprosima.com}"


def transports(path):
    """({transport id used by the participant}, segment size or None, largest message or None)."""
    root = ElementTree.parse(path).getroot()
    used = {e.text for e in root.iter(f"{DDS}transport_id") if e.text}
    sizes = [int(e.text) for e in root.iter(f"{DDS}segment_size")]
    messages = [int(e.text) for e in root.iter(f"{DDS}maxMessageSize")]
    return used, next(iter(sizes), None), next(iter(messages), None)


def test_a_bare_environment_gets_the_profile_and_the_middleware():
    env = prepare_environment({"HOME": "/home/someone"})
    assert env["RMW_IMPLEMENTATION"] == "rmw_fastrtps_cpp"
    assert sum(name in env for name in PROFILE_VARIABLES) == 1
    assert "storm_shm" in transports(env[dds.PROFILE_VARIABLES[0]])[0]
    assert "ROS_LOG_DIR" not in env


@pytest.mark.parametrize("distro", ["humble", "jazzy", "kilted", "lyrical"])
def test_each_distro_gets_the_variable_that_it_reads(distro):
    env = prepare_environment({"ROS_DISTRO": distro, "HOME": "/home/someone"})
    old = distro in ("humble", "jazzy")
    assert ("FASTRTPS_DEFAULT_PROFILES_FILE" in env) == old
    assert ("FASTDDS_DEFAULT_PROFILES_FILE" in env) == (not old)
    assert "RMW_IMPLEMENTATION" not in env, "a full installation has a default of its own"


@pytest.mark.parametrize("variable", PROFILE_VARIABLES)
def test_what_the_user_chose_stays(variable):
    chosen = {variable: "/etc/mine.xml", "HOME": "/home/someone", "RMW_IMPLEMENTATION": "rmw_fastrtps_dynamic_cpp"}
    assert prepare_environment(dict(chosen)) == chosen
    cyclone = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp", "HOME": "/home/someone"}
    assert prepare_environment(dict(cyclone)) == cyclone


def test_without_home_the_log_gets_a_folder():
    assert os.path.isabs(prepare_environment({})["ROS_LOG_DIR"])


def test_preparing_twice_changes_nothing():
    once = dict(prepare_environment({}))
    assert prepare_environment(dict(once)) == once


@pytest.mark.parametrize("megabytes", [1, 16, 39, 40, 64, 256, 639, 640, 24000])
def test_the_segments_of_all_nodes_fit_into_shared_memory(megabytes):
    total = megabytes * 2**20
    size = segment_size(total)
    used, segment, message = transports(profile_for(total))
    assert segment == size
    if size is None:
        assert used == {"storm_udp"} and message is None
        assert megabytes < 40, "a container's 64 MB must still give images shared memory"
    else:
        assert used == {"storm_shm", "storm_udp"}
        assert size * 7 < total and dds.SMALLEST_SEGMENT <= size <= FULL_SEGMENT
        assert message <= size


def test_large_shared_memory_uses_the_shipped_file_itself():
    assert profile_for(2**34) == share_file("config/fastdds.xml")
    assert transports(share_file("config/fastdds.xml"))[1] == FULL_SEGMENT


@pytest.mark.ros
def test_fast_dds_obeys_the_profile():
    """A real participant, even where UDP is forced by the environment, makes a segment of the size we ask for."""
    size = segment_size(dds.shared_memory_size())
    if size is None:
        pytest.skip("/dev/shm of this machine is too small for shared memory")
    script = ("import glob, os\nbefore = set(glob.glob('/dev/shm/fast*_*'))\n"
              "from storm_ros.dds import prepare_environment\nprepare_environment()\n"
              "import rclpy\nrclpy.init()\nnode = rclpy.create_node('segment')\n"
              "print(max(os.path.getsize(f) for f in set(glob.glob('/dev/shm/fast*_*')) - before))\n")
    env = {k: v for k, v in os.environ.items() if k not in PROFILE_VARIABLES}
    env |= {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4", "ROS_DOMAIN_ID": "73"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= size
