"""FoundationPose (NVIDIA) as a contender: `adapters/foundationpose_clip.py` run in the user's checkout."""

import shutil
from pathlib import Path

from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.running import WALL, Absent, Contender

SOURCE = Path(__file__).parent / "adapters" / "foundationpose_clip.py"
NAME = "foundationpose"


def foundationpose(folder: Path | None) -> Contender | Absent:
    """Its tracking mode (refiner only), timed by the clock because it runs on the GPU.

    Args:
      folder: checkout with weights/. Its interpreter is DIR/.venv/bin/python, or else `python` of the environment the
        command is started in.
    """
    if folder is None:
        return Absent(name=NAME, reason="--foundationpose DIR: a checkout of github.com/NVlabs/FoundationPose with its "
                                        "weights; needs CUDA, nvdiffrast and pytorch3d")
    if not (folder / "estimater.py").is_file():
        return Absent(name=NAME, reason=f"--foundationpose {folder} is no checkout of FoundationPose (no estimater.py)")
    if not any((folder / "weights").glob("*/model_best.pth")):
        return Absent(name=NAME, reason=f"{folder / 'weights'} holds no weights (*/model_best.pth); its readme says "
                                        "where they are")
    own = folder / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else shutil.which("python") or "python3"

    def command(clip_folder: Path, out: Path, clip: Clip) -> list[str]:
        return [python, str(SOURCE), str(folder.resolve()), str(clip_folder), str(out)]

    return Contender(name=NAME, command=command, clock=WALL)
