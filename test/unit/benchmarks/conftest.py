"""One rendered dataset for all tests of this folder."""

from pathlib import Path

import pytest

from storm_core.benchmarks.clip import Clip
from test.unit.benchmarks.tiny import clip_of, write_dataset


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def clip(scene: Path) -> Clip:
    return clip_of(scene)
