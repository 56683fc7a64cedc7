"""Quality-of-service profiles by purpose."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions


def sensor_data() -> QoSProfile:
    """Camera streams: best effort matches every publisher; a lost frame is never worth a late one."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def results() -> QoSProfile:
    """Poses, detections, tf."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)


def requests() -> QoSProfile:
    """Between the nodes, where no message may be missed."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE)


def transforms() -> QoSProfile:
    """/tf, as tf2_ros subscribes to it."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE)


def fixed_transforms() -> QoSProfile:
    """/tf_static: every publisher's last message still arrives."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)


def overridable() -> QoSOverridingOptions:
    """Lets users change history, depth and reliability by parameters: qos_overrides./image.subscription.reliability."""
    return QoSOverridingOptions.with_default_policies()


def kept() -> QoSProfile:
    """Requests and their answers: whoever is discovered late, or restarted, still gets what is under way.

    Repeats do no harm: every one carries its epoch, and the supervisor drops answers of finished epochs.
    """
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)


def history() -> QoSProfile:
    """The status: like `latched`, but deep, so that no change is lost when many come in a row.

    A late joiner with a depth of 1 gets the newest alone.
    """
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)


def latched() -> QoSProfile:
    """State that whoever joins late must still learn."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.TRANSIENT_LOCAL)
