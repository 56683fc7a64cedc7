"""The subscriber that the README shows, as printed, in a process of its own beside real nodes."""

import os
import re
import subprocess
import sys
import threading

import pytest

from storm_ros.dds import PROFILE_VARIABLES
from test.real_data import ROOT
from test.ros.domain import DOMAIN
from test.ros.fakes import pose_at

pytestmark = pytest.mark.ros

LINE = re.compile(r"(\d+)\.(\d{9}) optical: (\S+) (\S+) (\S+) m")


def test_the_printed_subscriber_prints_the_poses(bench, tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {"rclpy", "geometry_msgs"}
    (tmp_path / "listener.py").write_text(code)
    # As a stranger's process: it knows neither STORM nor STORM's settings.
    own = {"PYTHONPATH", "PYTEST_CURRENT_TEST", *PROFILE_VARIABLES}
    env = {name: value for name, value in os.environ.items() if name not in own} | {"ROS_DOMAIN_ID": str(DOMAIN)}
    b = bench()
    b.await_state("TRACKING")
    process = subprocess.Popen([sys.executable, "listener.py"], cwd=tmp_path, env=env, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        printed = []
        reader = threading.Thread(target=lambda: printed.extend(process.stdout), daemon=True)
        reader.start()
        b.until(lambda: len(printed) >= 10 or process.poll() is not None, "the subscriber prints nothing")
        assert process.poll() is None, "".join(printed)
        for line in printed[:10]:
            found = LINE.fullmatch(line.strip())
            assert found, f"not as printed: {line}"
            stamp = int(found[1] + found[2])
            assert stamp in b.sent
            assert [float(text) for text in found.groups()[2:]] == pytest.approx(pose_at(stamp)[:3, 3], abs=6e-4)
    finally:
        process.kill()
        process.wait(10)
