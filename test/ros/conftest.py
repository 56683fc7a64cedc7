"""The Fast DDS profile is read once per process, at the first node: set it before any test makes one.

Without it, images sent from this process are larger than the default shared-memory segment and most of them are lost.
"""

from storm_ros.dds import prepare_environment

prepare_environment()
