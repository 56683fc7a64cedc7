"""Settings for the unit tests."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def behind_the_nodes() -> None:
    """Beside tests that start nodes, which come first and live in real time, these take what is left of the cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.nice(5)
