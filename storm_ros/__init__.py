"""STORM as ROS 2 nodes; every algorithm lives in `storm_core`."""
