"""Where recordings and meshes for tests are; they are not part of the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def real_data(relative: str) -> Path:
    """A folder or file below the test data, or the test is skipped with the reason."""
    folder = Path(os.environ.get("STORM_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = folder / relative
    if not path.exists():
        top = relative.split("/")[0]
        pytest.skip(f"test data {path} is not here; set STORM_TEST_DATA to the folder that holds {top}")
    return path
