"""Start the STORM nodes on a recording.

ros2 launch storm_ros storm_bag.launch.py models:=/path/to/models recording:=/path/to/recording
ros2 launch storm_ros storm_bag.launch.py models:=/path/to/models recording:=/path/to/bag player:=ros2bag
"""

from launch import LaunchDescription

from storm_ros.launching import PLAYER_ARGUMENTS, describe, storm_bag


def generate_launch_description() -> LaunchDescription:
    return describe(storm_bag, PLAYER_ARGUMENTS)
