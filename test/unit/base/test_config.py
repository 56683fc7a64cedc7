"""The parameter tree: paths, types, ranges, YAML."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from storm_core.config import StormConfig, build, check, describe, flatten
from storm_core.config_io import read_config, to_commented_yaml, to_yaml
from storm_core.errors import ConfigError
from test.real_data import ROOT

DEFAULTS = flatten(StormConfig())
KNOWN = describe(StormConfig())
NUMBERS = [path for path, value in DEFAULTS.items() if isinstance(value, (int, float)) and not isinstance(value, bool)]


def test_defaults_lie_in_their_own_ranges_and_everything_is_described() -> None:
    check(StormConfig())
    for path, meta in KNOWN.items():
        assert meta.get("doc"), f"{path} needs a description"


@st.composite
def valid_values(draw: st.DrawFn) -> dict[str, object]:
    out: dict[str, object] = {}
    for path in draw(st.lists(st.sampled_from(sorted(DEFAULTS)), unique=True, max_size=8)):
        default, meta = DEFAULTS[path], KNOWN[path]
        low, high = meta.get("low"), meta.get("high")
        if path == "mesh_unit":
            out[path] = draw(st.sampled_from(["auto", "m", "mm", "cm", "in"]))
        elif meta.get("choices"):
            out[path] = draw(st.sampled_from(meta["choices"]))
        elif isinstance(default, bool):
            out[path] = draw(st.booleans())
        elif isinstance(default, int):
            out[path] = draw(st.integers(int(low), int(high)))
        elif isinstance(default, float):
            out[path] = draw(st.floats(low, high))
        elif isinstance(default, tuple):
            out[path] = tuple(draw(st.lists(st.text("abcxyz0123 _-", min_size=1, max_size=6), max_size=3)))
        else:
            out[path] = draw(st.text("abc/._ 012", max_size=8))
    return out


@given(valid_values())
def test_yaml_round_trip_is_exact(values: dict[str, object]) -> None:
    config = build(values)
    for write in (to_yaml, to_commented_yaml):
        tree = yaml.safe_load(write(config))["/**"]["ros__parameters"]
        again = build({path: _at(tree, path) for path in DEFAULTS})
        assert again == config
    for path, value in values.items():
        assert flatten(config)[path] == value


def _at(tree: dict, path: str) -> object:
    for key in path.split("."):
        tree = tree[key]
    return tree


def test_read_config_accepts_both_wrappings_and_overrides(tmp_path: Path) -> None:
    path = tmp_path / "storm.yaml"
    path.write_text("monitor: {healthy: 0.7}\n")
    assert read_config(path).monitor.healthy == 0.7
    path.write_text("/**:\n  ros__parameters:\n    monitor: {healthy: 0.7}\n    objects: [1, mug]\n")
    config = read_config(path, {"monitor.healthy": 0.6})
    assert config.monitor.healthy == 0.6 and config.objects == ("1", "mug")
    for nothing in ("", "/**:\n", "/**:\n  ros__parameters:\n", "ros__parameters:\n"):
        path.write_text(nothing)
        assert read_config(path) == StormConfig()


def test_the_home_folder_in_a_file_is_spelled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/maria")
    path = tmp_path / "storm.yaml"
    path.write_text("models: ~/meshes\n")
    assert read_config(path).models == "/home/maria/meshes"
    assert read_config(path, {"models": "meshes"}).models == "meshes"


@pytest.mark.parametrize("values, words", [
    ({"monitor.helthy": 0.5}, ("monitor.helthy", "monitor.healthy")),
    ({"nonsense": 1}, ("unknown parameter nonsense",)),
    ({"monitor.healthy.deep": 1}, ("monitor.healthy.deep",)),
    ({"monitor.healthy": "high"}, ("monitor.healthy must be float", "'high'")),
    ({"monitor.healthy": True}, ("monitor.healthy must be float",)),
    ({"seed": 1.5}, ("seed must be int",)),
    ({"tracking.motion_prior": 1}, ("tracking.motion_prior must be bool",)),
    ({"objects": "1"}, ("objects must be tuple",)),
    ({"mesh_unit": "yard"}, ("mesh_unit", "'yard'", "mm")),
])
def test_wrong_values_name_the_dotted_path(values: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        build(values)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("path", NUMBERS)
def test_ranges_are_enforced_where_files_are_read(path: str) -> None:
    low, high = KNOWN[path].get("low"), KNOWN[path].get("high")
    kind = type(DEFAULTS[path])
    for value in (None if low is None else kind(low - 1), None if high is None else kind(high + 1)):
        if value is not None:
            with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
                read_config(None, {path: value})


@pytest.mark.parametrize("text, word", [
    ("a: [1", "cannot read"), ("- 1\n- 2\n", "must be a mapping"), ("monitor: {healthy: .nan}\n", "monitor.healthy"),
    ("/**:\n  ros__parameters:\n    monitor:\n      helthy: 1\n", "monitor.helthy"),
    ("/**:\n  ros__parameters: 5\n", "ros__parameters of config"),
])
def test_broken_files(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word.replace(".", r"\.")):
        read_config(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "missing.yaml")


def test_shipped_file_names_every_parameter_and_no_other() -> None:
    tree = yaml.safe_load((ROOT / "config" / "storm.yaml").read_text())["/**"]["ros__parameters"]
    assert {path: _at(tree, path) for path in DEFAULTS}
    assert read_config(ROOT / "config" / "storm.yaml") == StormConfig()
