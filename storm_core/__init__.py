"""STORM core: find, register, track, watch and recover objects from RGB-D and a CAD model. No ROS in here."""

import logging

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())
