"""Ground truth of a simulated recording on disk, with visibility: what a bag's pose topics do not carry."""

from collections.abc import Sequence
from pathlib import Path

from storm_core.bags.truth import Truth, TruthPose
from storm_core.bop.dataset import object_ids, read_annotations
from storm_core.simulation.dataset import SCENE


def load_simulated_truth(folder: Path, names: Sequence[str]) -> Truth:
    """Truth of the named objects for every frame of a folder that `write_simulation` made. Call after predicting.

    Frames in which no pixel of an object is visible list the object with a visible share of 0.
    """
    annotations = read_annotations(folder / SCENE)
    ids = object_ids(folder / "models", names)
    frames = {name: [tuple(TruthPose(cam_from_obj=a.cam_from_obj, visible=a.visible, good=a.good)
                           for a in annotations[index] if a.obj_id == ids[name]) for index in sorted(annotations)]
              for name in names}
    return Truth(frames=frames, source="simulation")
