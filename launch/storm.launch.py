"""Start the STORM nodes on a live camera, or on a recording with bag:=PATH.

ros2 launch storm_ros storm.launch.py models:=/path/to/models objects:="mug box" image:=/camera/color/image_raw
ros2 launch storm_ros storm.launch.py models:=/path/to/models bag:=/path/to/recording composed:=true
"""

from launch import LaunchDescription

from storm_ros.launching import EXTRA_ARGUMENTS, describe, storm


def generate_launch_description() -> LaunchDescription:
    return describe(storm, EXTRA_ARGUMENTS)
