"""Settings for all tests."""

from hypothesis import settings

# Busy machines must not fail a law, and a failure must be repeatable.
settings.register_profile("storm", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("storm")
