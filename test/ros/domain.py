"""A ROS domain of this test process alone, so that neither other tests nor robots are heard."""

import os

DOMAIN = int(os.environ.get("STORM_TEST_DOMAIN", 20 + os.getpid() % 70))
