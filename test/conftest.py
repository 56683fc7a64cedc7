"""Settings for all tests."""

import signal

from hypothesis import settings

# Busy machines must not fail a law, and a failure must be repeatable.
settings.register_profile("storm", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("storm")

# A shell that runs the tests in the background has them ignore Ctrl-C, and their child processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
