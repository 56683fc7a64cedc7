"""TOM, default backend: judges a tracked pose by render-and-compare evidence, over time (see `decision`)."""

from dataclasses import replace
from pathlib import Path

from storm_core.config import MonitorConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import bare_features
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.models.packages import require_packages
from storm_core.monitor.crop import crop_of
from storm_core.monitor.decision import SURPRISE, Decision, Measured, without_depth
from storm_core.monitor.freeze import FreezeDetector
from storm_core.monitor.network import CropNetwork
from storm_core.monitor.twin_watch import TwinWatch
from storm_core.monitor.weights import load_network
from storm_core.tracking.modalities import colorless
from storm_core.tracking.uncertainty import weakest_direction
from storm_core.types import Evidence, Frame, Judgement, Track, Verdict

MUCH_HIDDEN = 0.4
"""Share hidden from which what is left may be the same on every side."""

CERTAIN = 0.9
"""Probability from which a pose is certain, and its crop remembered as one that shows the object."""

ASK_EVERY = 3
"""While a pose is certain and moves as foreseen, the network looks at every so many-th frame; in between its last word
counts. It costs as much as everything else that the monitor looks at."""

NEAREST = 0.02
"""Depth of an object's centre [m] below which it is behind the camera."""


class EvidenceMonitor:
    """The default Monitor. Keeps the running log-odds of each object, and a watch over its twins."""

    def __init__(self, models: dict[str, ObjectModel], config: MonitorConfig) -> None:
        self._models = models
        self._config = config
        self._network: CropNetwork | None = load_network() if config.learned else None
        self._pair = None
        if config.pair:
            require_packages("monitor.pair", "torch", "transformers", "safetensors")
            from storm_core.monitor.pair_verifier import PairVerifier

            self._pair = PairVerifier(Path(config.pair).expanduser())
        self._decisions = {name: Decision(config) for name in models}
        self._twins = {name: TwinWatch(model, self._network) for name, model in models.items()}
        self._freeze = FreezeDetector(config.freeze_frames)
        self._said: dict[str, tuple[int, float]] = {}
        self._certain: set[str] = set()

    def reset(self, object_name: str) -> None:
        if object_name in self._models:
            self._said.pop(object_name, None)
            self._certain.discard(object_name)
            self._decisions[object_name].reset()
            self._twins[object_name].reset()
            if self._pair is not None:
                self._pair.reset(object_name)

    def renew(self, models: dict[str, ObjectModel], config: MonitorConfig) -> None:
        """Other models or settings from now on; the history of objects that are still the same goes on.

        The networks stay the ones that were loaded.
        """
        same = {name for name, model in models.items()
                if name in self._models and self._models[name].sha256 == model.sha256}
        for name in set(self._models) - same:
            self.reset(name)
        decisions, twins = self._decisions, self._twins
        self._decisions = {name: decisions[name] if name in same else Decision(config) for name in models}
        self._twins = {name: twins[name] if name in same else TwinWatch(model, self._network)
                       for name, model in models.items()}
        for name in same:
            self._decisions[name].renew(config)
        self._freeze.renew(config.freeze_frames)
        self._models, self._config = models, config

    def judge(self, frame: Frame, track: Track) -> Judgement:
        return self.decide(track, self.measure(frame, track))

    def decide(self, track: Track, measured: Measured) -> Judgement:
        """The word about what was measured; remembers it."""
        word = self._decisions[track.object_name].judge(measured)
        certain = word.verdict is Verdict.HEALTHY and word.probability >= CERTAIN
        (self._certain.add if certain else self._certain.discard)(track.object_name)
        if self._pair is not None and certain:
            self._pair.remember(track.object_name)
        return Judgement(object_name=track.object_name, stamp_ns=track.stamp_ns, verdict=word.verdict,
                         probability=word.probability, reason=word.reason, evidence=measured.evidence)

    def measure(self, frame: Frame, track: Track) -> Measured:
        """Everything that the decision is made from. Once per frame and object: the watch over twins has a memory."""
        model, pose = self._models[track.object_name], track.cam_from_obj
        frozen = self._freeze.frozen(frame)
        center = pose[:3, :3] @ model.center + pose[:3, 3]
        if center[2] <= NEAREST:
            return Measured(evidence=Evidence(inside=0.0, innovation=track.innovation), blind=False, frozen=frozen)
        features = bare_features(frame)
        evidence = to_evidence(
            compare(features, model, pose[None], side=64)[0], innovation=track.innovation, region=track.region,
            condition=weakest_direction(track.covariance, center, model.diameter))
        if frozen or not evidence.inside > 0:
            return Measured(evidence=evidence, blind=False, frozen=frozen)
        blind = colorless(frame, center, model.diameter)
        if blind:  # a black or overexposed picture is no evidence against a pose
            evidence = replace(evidence, **dict.fromkeys(("edge", "color", "picture", "hue"), float("nan")))
        elif self._network is not None:
            evidence = replace(evidence, learned=self._learned(self._network, frame, track, evidence))
        if self._pair is not None and not blind:
            evidence = replace(evidence, similarity=self._pair.similarity(frame, model, pose))
        twins = self._twins[track.object_name]
        clear = not without_depth(evidence) and evidence.occluded < MUCH_HIDDEN
        twin = twins.standing(pose) if blind else twins.doubt(features, pose, evidence.learned, clear)
        return Measured(evidence=replace(evidence, twin=twin), blind=blind, frozen=frozen)

    def _learned(self, network: CropNetwork, frame: Frame, track: Track, evidence: Evidence) -> float:
        """What the network says of the pose [log-odds]; its last word while that is fresh and nothing is suspicious."""
        name = track.object_name
        age, said = self._said.get(name, (ASK_EVERY, float("nan")))
        doubted = VERIFIER.probability(evidence) < self._config.healthy
        suspicious = doubted or name not in self._certain or track.innovation > SURPRISE
        if suspicious or age + 1 >= ASK_EVERY:
            crop = crop_of(frame, self._models[name], track.cam_from_obj)
            age, said = -1, network.of_crop(crop)
        self._said[name] = age + 1, said
        return said
