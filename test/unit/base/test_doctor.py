"""storm doctor on machines that lack things."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from storm_core.cli import doctor
from storm_core.cli import main as cli
from storm_core.cli.health import OPTIONAL, Check, Machine, machine_checks, this_machine

GOOD = Machine(python=(3, 11), cores=4, installed={"numpy": "2.0", "scipy": "1.11", "opencv-python-headless": "4.10"},
               required=["numpy", "scipy"], gpus=("NVIDIA H200",), cache=Path("/home/robot/.cache/storm"),
               cache_writable=True, kernels=Path("/home/robot/.cache/storm/kernels"))
NOTHING = dict.fromkeys(OPTIONAL, False)


def statuses(machine: Machine) -> dict[str, str]:
    return {name: check.status for name, check in machine_checks(machine, NOTHING).items() if check.status != "ok"}


def test_a_good_machine_is_all_ok() -> None:
    assert statuses(GOOD) == {}


@pytest.mark.parametrize("change, name, status, words", [
    ({"python": (3, 8)}, "python", "problem", ("3.8", "3.10")),
    ({"required": ["numpy", "trimesh", "numba"]}, "packages", "problem", ("trimesh", "pip install trimesh numba")),
    ({"required": None}, "packages", "warning", ("pip install -e .",)),
    ({"installed": {**GOOD.installed, "opencv-python": "4.9"}}, "opencv", "warning", ("pip uninstall",)),
    ({"cores": 1}, "cores", "warning", ("two cores",)),
    ({"gpus": ()}, "gpu", "warning", ("CPU", "nvidia-smi")),
    ({"cache_writable": False}, "cache", "warning", ("onboarding.cache",)),
    ({"kernels": None}, "kernels", "warning", ("every start", "NUMBA_CACHE_DIR")),
])
def test_each_lack_is_named_with_its_remedy(change: dict, name: str, status: str, words: tuple[str, ...]) -> None:
    machine = replace(GOOD, **change)
    assert statuses(machine) == {name: status}
    check = machine_checks(machine, NOTHING)[name]
    assert check.remedy and all(word in check.text + check.remedy for word in words)


def test_optional_packages_are_never_a_problem_and_their_replacement_is_named() -> None:
    with_sam = replace(GOOD, installed={**GOOD.installed, "sam-2": "1.0"})
    checks = machine_checks(with_sam, NOTHING | {"cv_bridge": True})
    assert all(checks[name].status == "ok" for name in OPTIONAL)
    assert "not installed" in checks["nvdiffrast"].text and "own CPU kernels" in checks["nvdiffrast"].text
    assert checks["sam2"].text.startswith("installed 1.0") and checks["cv_bridge"].text.startswith("installed")


def test_the_whole_command_on_a_machine_without_gcc_and_gpu_and_with_wrong_dds_settings(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    for name, value in {"PATH": str(tmp_path), "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4", "ROS_DOMAIN_ID": "999",
                        "FASTDDS_DEFAULT_PROFILES_FILE": str(tmp_path / "none.xml")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("storm_ros.checks.missing", lambda packages=("tf2_msgs", "vision_msgs"): tuple(packages))
    report = tmp_path / "doctor.json"
    assert cli.main(["doctor", "--json", str(report)]) == 1
    out = capsys.readouterr().out
    for words in ("gcc, g++ missing", "sudo apt install gcc g++", "no NVIDIA GPU", "unset FASTDDS_BUILTIN_TRANSPORTS",
                  "ROS_DOMAIN_ID=999", "none.xml cannot be read", "vision_msgs"):
        assert words in out, f"{words!r} is not in\n{out}"
    assert "STORM cannot run yet" in out.splitlines()[-1]
    numbers = json.loads(report.read_text())
    assert numbers["usable"] is False and numbers["checks"]["compilers"]["status"] == "problem"


def test_text_shows_one_line_per_check_and_its_remedy() -> None:
    text = doctor.as_text({"one": Check("ok", "fine"), "three": Check("warning", "slow", "do this")})
    assert text.splitlines() == ["ok       one    fine", "warning  three  slow", "                -> do this",
                                 "STORM can run on this machine"]


def test_this_machine_is_described_truthfully(tmp_path: Path) -> None:
    machine = this_machine({"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert machine.gpus == () and machine.cache == tmp_path / "storm" and machine.cache_writable
    assert machine.kernels == tmp_path / "storm" / "kernels"
    assert machine.cores >= 1 and "numpy" in machine.installed
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\necho 'NVIDIA Fake 1'\n")
    fake.chmod(0o755)
    assert this_machine({"PATH": f"{tmp_path}:/bin:/usr/bin"}).gpus == ("NVIDIA Fake 1",)
