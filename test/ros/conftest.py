"""The Fast DDS profile is read once per process, at the first node: set it before any test makes one.

Without it, images sent from this process are larger than the default shared-memory segment and most of them are lost.
"""

import pytest

from storm_ros.dds import prepare_environment

prepare_environment()


@pytest.fixture
def bench():
    """Makes a bench of nodes; see test.ros.bench."""
    from test.ros.bench import CORE, Bench
    from test.ros.fakes import FakeStages

    made = []

    def make(fake=None, classes=CORE, **parameters):
        # All nodes share one interpreter here: poses come late, and their age is the business of other tests.
        made.append(Bench(fake or FakeStages(), classes, **({"objects": ["cup"], "input.max_age": 2.0} | parameters)))
        return made[-1]

    yield make
    for one in made:
        one.close()
