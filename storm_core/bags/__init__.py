"""rosbag2 and ROS 1 bags, read and written without ROS."""
