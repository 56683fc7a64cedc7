"""Who takes part: STORM, what pip can install, and what lies in folders that the user names."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.foundationpose import foundationpose
from storm_core.benchmarks.m3t import m3t
from storm_core.benchmarks.running import Absent, Contender, python_module
from storm_core.config import StormConfig
from storm_core.config_io import to_yaml
from storm_core.onboarding.array_cache import cache_folder

STORM = "storm"
ADAPTERS = "storm_core.benchmarks.adapters"


def contenders(configs: Mapping[str, StormConfig], m3t_folder: Path | None,
               foundationpose_folder: Path | None) -> list[Contender | Absent]:
    """Everybody, STORM first; those that cannot run here with the reason.

    Args:
      configs: name of a clip -> its configuration: the meshes and the one object.
    """
    first = next(iter(configs.values()))
    return [
        _storm(configs),
        _package("small_gicp", "small_gicp", f"{ADAPTERS}.small_gicp_tracker"),
        _package("open3d_point_to_plane", "open3d", f"{ADAPTERS}.open3d_tracker", "point_to_plane"),
        _package("open3d_colored", "open3d", f"{ADAPTERS}.open3d_tracker", "colored"),
        m3t(m3t_folder, cache_folder(first.onboarding) / "m3t", texture=False),
        m3t(m3t_folder, cache_folder(first.onboarding) / "m3t", texture=True),
        foundationpose(foundationpose_folder),
    ]


def _storm(configs: Mapping[str, StormConfig]) -> Contender:
    def command(folder: Path, out: Path, clip: Clip) -> list[str]:
        return python_module(f"{ADAPTERS}.storm_tracker", str(folder), str(out), str(write_config(folder,
                                                                                                  configs[clip.name])))

    return Contender(name=STORM, command=command)


def write_config(folder: Path, config: StormConfig) -> Path:
    """The configuration as a file beside the clip."""
    file = folder / "config.yaml"
    file.write_text(to_yaml(config))
    return file


def _package(name: str, package: str, module: str, *arguments: str) -> Contender | Absent:
    if importlib.util.find_spec(package) is None:
        return Absent(name=name, reason=f"pip install {package}")
    return Contender(name=name, command=lambda folder, out, clip: python_module(module, str(folder), str(out),
                                                                                *arguments))
