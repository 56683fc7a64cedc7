"""What score_node tells the world about an object: its particles, the modes they form, the refined pose."""

import numpy as np
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.node import Node
from std_msgs.msg import Header
from vision_msgs.msg import Detection3D, Detection3DArray

from storm_core.geometry.mesh import ObjectModel
from storm_core.interfaces import ParticleSet
from storm_core.score_model.modes import find_modes, mode_covariance
from storm_ros import names, qos
from storm_ros.conversions import to_pose, with_covariance
from storm_ros.detections import box, hypothesis


class DistributionOutput:
    """The three topics of one object, all under the header of the image that was looked at."""

    def __init__(self, node: Node, model: ObjectModel) -> None:
        self._node, self.model = node, model
        self._particles = node.create_publisher(PoseArray, names.particles_topic(model.name), qos.results())
        self._modes = node.create_publisher(Detection3DArray, names.modes_topic(model.name), qos.results())
        self._pose = node.create_publisher(PoseWithCovarianceStamped, names.refined_topic(model.name), qos.results())

    def publish(self, result: ParticleSet, at: Header) -> None:
        self._particles.publish(PoseArray(header=at, poses=[to_pose(pose) for pose in result.cam_from_objs]))
        self._modes.publish(modes_message(self.model, result, at))
        registration = result.registration
        self._pose.publish(PoseWithCovarianceStamped(
            header=at, pose=with_covariance(registration.cam_from_obj, registration.covariance)))

    def destroy(self) -> None:
        for publisher in (self._particles, self._modes, self._pose):
            self._node.destroy_publisher(publisher)


def modes_message(model: ObjectModel, result: ParticleSet, at: Header) -> Detection3DArray:
    """One detection whose results are the modes, heaviest first: score = share of the particles, pose, covariance."""
    poses, weights = np.asarray(result.cam_from_objs), np.asarray(result.weights)
    modes = find_modes(model, poses, weights)
    detection = Detection3D(header=at, id=model.name, bbox=box(modes[0].cam_from_obj, model))
    for mode in modes:
        entry = hypothesis(model.name, mode.weight)
        entry.pose = with_covariance(mode.cam_from_obj, mode_covariance(model, mode, poses, weights))
        detection.results.append(entry)
    return Detection3DArray(header=at, detections=[detection])
