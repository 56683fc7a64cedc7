"""Start the STORM nodes on a live camera.

ros2 launch storm_ros storm.launch.py models:=/path/to/models objects:="mug box" image:=/camera/color/image_raw
"""

from launch import LaunchDescription

from storm_ros.launching import describe, storm


def generate_launch_description() -> LaunchDescription:
    return describe(storm)
