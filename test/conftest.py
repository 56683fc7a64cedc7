"""Settings for all tests."""

import os
import signal

from hypothesis import HealthCheck, settings

# Tests run on every core already: libraries that take all of them in each process would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Busy machines must not fail a law, and a failure must be repeatable.
settings.register_profile("storm", deadline=None, derandomize=True, max_examples=60,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("storm")

# A shell that runs the tests in the background has them ignore Ctrl-C, and their child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
