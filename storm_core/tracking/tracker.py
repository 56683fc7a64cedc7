"""RegionDepthTracker: follows many objects from frame to frame, one alignment per object and frame."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storm_core.config import TrackingConfig
from storm_core.errors import InputError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, inverse, require_pose
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.landmarks import scene_motion
from storm_core.tracking.motion import Velocity, grown, observe, predict
from storm_core.tracking.optimise import (
    Fit,
    align,
    assess,
    center_of,
    moved,
    tolerance,
)
from storm_core.tracking.sparse_model import SparseView, rendered_view
from storm_core.tracking.symmetric import turning_axis
from storm_core.tracking.texture import KeyFrame, make_key_frame
from storm_core.tracking.uncertainty import DEFAULT as ERRORS
from storm_core.tracking.uncertainty import Observation, conditions_of, left_covariance, turned_axes
from storm_core.types import Frame, Reason, Registration, Track, TrackFailure

POOR = 0.55
"""Fit quality below which other starts are tried."""

MIN_INSIDE = 0.12
"""Share of the silhouette inside the image below which the object has left the view."""

MAX_HIDDEN = 0.92
"""Share of the object behind something else above which the prediction is believed more than the image."""

MAX_CONTRADICTED = 5
"""Frames in a row in which depth may contradict the pose before the track ends."""

SHARP_ENOUGH = 0.6
"""Sharpness, relative to the last key frame's, that a new key frame needs."""

LONG_STEP = 0.1
"""Time [s] between frames after which constant velocity is no longer taken on trust."""

SURPRISE = 0.5
"""Fit quality that an innovation of one diameter outweighs: of equal fits the expected one is right."""

LIKENESS = 0.3
"""Fit quality that the remembered texture, where it is seen again, is worth."""

OPEN_TURN = 5000.0
"""Information [1/rad^2] about a turn below which the image leaves it open: about 2 degrees, errors being correlated."""

HISTORY = 90
"""Poses remembered for corrections that arrive late."""


@dataclass(eq=False, kw_only=True)
class _State:
    """What the tracker knows about one object; covariance at the object centre.

    Attributes:
      frame: the last one, that the scene's motion is measured from.
      unsure: constant velocity must not be taken on trust: the last fit left a turn open, or there was none.
      key_covariance: of the pose in the key frame, in the axes of the object.
    """

    model: ObjectModel
    cam_from_obj: NDArray[np.float64]
    covariance: NDArray[np.float64]
    stamp_ns: int
    colors: ColorModel
    quality: float
    frame: Frame
    key_covariance: NDArray[np.float64]
    velocity: Velocity = field(default_factory=Velocity)
    contradicted: int = 0
    unsure: bool = False
    key: KeyFrame | None = None
    view: SparseView | None = None
    history: deque[tuple[int, NDArray[np.float64]]] = field(default_factory=lambda: deque(maxlen=HISTORY))


class RegionDepthTracker:
    """The default Tracker: colour regions, depth and remembered texture; no weights, one CPU core."""

    def __init__(
        self,
        models: dict[str, ObjectModel],
        config: TrackingConfig,
        watch: Callable[[Observation], None] | None = None,
    ) -> None:
        """watch: told of every fit that corrects a pose; the error model is fitted to that."""
        self._models = models
        self._config = config
        self._watch = watch
        self._states: dict[str, _State] = {}

    def start(self, frame: Frame, registration: Registration) -> None:
        """Follow an object from a registered pose; replaces what was known about it."""
        name = registration.object_name
        if name not in self._models:
            raise InputError(f"cannot track unknown object {name!r}; known: {', '.join(self._models) or 'none'}")
        model = self._models[name]
        pose = np.array(registration.cam_from_obj, np.float64, order="C")
        view = rendered_view(model, pose, frame.camera)
        colors = ColorModel(count(frame, view, tolerance(model.diameter)))
        fit = assess(frame, model, view, pose, colors.posterior)
        covariance = left_covariance(registration.covariance, -center_of(model, pose))
        state = _State(
            model=model,
            cam_from_obj=pose,
            covariance=covariance,
            key_covariance=turned_axes(covariance, pose[:3, :3].T),
            stamp_ns=registration.stamp_ns,
            colors=colors,
            quality=fit.quality,
            frame=frame,
            key=make_key_frame(frame, view, pose, 2 * tolerance(model.diameter)),
        )
        state.history.append((registration.stamp_ns, pose))
        self._states[name] = state

    def stop(self, object_name: str) -> None:
        """Forget an object; unknown names are fine."""
        self._states.pop(object_name, None)

    def nudge(self, object_name: str, stamp_ns: int, correction: NDArray[np.float64]) -> bool:
        """Apply a left correction (4, 4) that was computed for the frame at `stamp_ns` to the current pose.

        The object may have moved since: the correction travels with it. Returns False when the object is not tracked
        or was registered anew after that frame.
        """
        correction = require_pose(correction, f"correction of {object_name}")
        state = self._states.get(object_name)
        if state is None:
            return False
        then = next((pose for stamp, pose in state.history if stamp == stamp_ns), None)
        if then is None:
            return False
        obj_correction = inverse(then) @ correction @ then
        state.history = deque(((stamp, pose @ obj_correction) for stamp, pose in state.history), maxlen=HISTORY)
        state.cam_from_obj = state.history[-1][1]
        state.key = None  # it would pull the texture back to where the corrected pose saw it
        return True

    def track(self, frame: Frame) -> dict[str, Track | TrackFailure]:
        """The pose of every followed object in this frame; an object that fails is forgotten."""
        results: dict[str, Track | TrackFailure] = {}
        for name in list(self._states):
            result = self._follow(frame, self._states[name])
            results[name] = result
            if isinstance(result, TrackFailure):
                self.stop(name)
        return results

    def _follow(self, frame: Frame, state: _State) -> Track | TrackFailure:
        model, name = state.model, state.model.name
        dt = (frame.stamp_ns - state.stamp_ns) * 1e-9
        predicted = state.cam_from_obj
        if self._config.motion_prior:
            predicted = predict(state.cam_from_obj, model.center, state.velocity, dt)
        if predicted[2, :3] @ model.center + predicted[2, 3] < 0.02:
            return self._failure(name, frame, Reason.OUT_OF_VIEW, "behind the camera")
        fit, innovation = self._best_fit(frame, state, predicted, dt)
        if fit.view.inside < MIN_INSIDE:
            return self._failure(
                name, frame, Reason.OUT_OF_VIEW, f"{fit.view.inside:.0%} of the object is in the image"
            )
        believable = innovation <= self._config.max_innovation
        # A fit that ran away says nothing about the place where the object was last seen; the prediction does.
        there = (
            fit
            if believable
            else assess(frame, model, rendered_view(model, predicted, frame.camera), predicted, state.colors.posterior)
        )
        contradicted = there.measured > 0.2 and there.behind > 0.5 and there.inlier < 0.3
        state.contradicted = state.contradicted + 1 if contradicted else 0
        if state.contradicted >= MAX_CONTRADICTED:
            return self._failure(
                name, frame, Reason.DEPTH_DISAGREES, f"the camera sees through {there.behind:.0%} of it"
            )
        if contradicted or not believable or not self._corrected(fit):
            return self._coast(frame, state, predicted, dt, innovation)
        self._accept(frame, state, fit, dt, innovation)
        state.unsure = self._open(model, fit)
        state.frame = frame
        return self._result(frame, state, innovation, coasting=False)

    def _best_fit(self, frame: Frame, state: _State, predicted: NDArray[np.float64], dt: float) -> tuple[Fit, float]:
        """The best alignment of this frame, and its innovation against the motion model that foresaw it best.

        One alignment from constant velocity while that is certain enough. After a long step, a coasted frame or a fit
        that left a direction open, the motion of the scene competes with it; where all are poor, a search does.
        """
        bases = [predicted]
        if dt > LONG_STEP or state.unsure:
            bases += self._carried(frame, state)
        fit, innovation = self._chosen(frame, state, bases, bases)
        if self._good(state, fit) and innovation <= self._config.max_innovation:
            return fit, innovation
        if len(bases) == 1:
            bases += self._carried(frame, state)
        starts = [*bases[1:], *self._search(frame, state, bases, fit.view)]
        other, other_innovation = self._chosen(frame, state, starts, bases)
        better = self._score(frame, state, other) > self._score(frame, state, fit)
        if better or innovation > self._config.max_innovation:
            return other, other_innovation
        return fit, innovation

    def _good(self, state: _State, fit: Fit) -> bool:
        """About as good as the object's fits have been, or hidden, which no other start would change."""
        return fit.quality >= min(POOR, 0.75 * state.quality) or fit.occluded + fit.occluded_lines >= 0.8

    def _carried(self, frame: Frame, state: _State) -> list[NDArray[np.float64]]:
        """Where the object is if it moved with the scene; none when the scene does not say."""
        moved_by = scene_motion(state.frame, frame)
        return [] if moved_by is None else [moved_by @ state.cam_from_obj]

    def _chosen(
        self, frame: Frame, state: _State, starts: list[NDArray[np.float64]], bases: list[NDArray[np.float64]]
    ) -> tuple[Fit, float]:
        """The best alignment from several starts, and its innovation against the nearest of `bases`."""
        best: tuple[float, Fit, float] | None = None
        for start in starts:
            fit = align(frame, state.model, start, state.colors.posterior, self._config.iterations, state.key,
                        view=state.view)
            innovation = min(self._innovation(state.model, base, fit.cam_from_obj) for base in bases)
            score = self._score(frame, state, fit) - SURPRISE * innovation
            if best is None or score > best[0]:
                best = score, fit, innovation
        assert best is not None
        return best[1], best[2]

    def _score(self, frame: Frame, state: _State, fit: Fit) -> float:
        """What ranks alignments of one object in one frame: contour and depth, and the texture seen before."""
        if state.key is None:
            return fit.quality
        return fit.quality + LIKENESS * state.key.likeness(
            frame, fit.cam_from_obj, 2 * tolerance(state.model.diameter))

    def _search(
        self, frame: Frame, state: _State, bases: list[NDArray[np.float64]], view: SparseView
    ) -> list[NDArray[np.float64]]:
        """The most promising of many starts around the bases and the previous pose."""
        starts = self._fan(state.model, state.cam_from_obj, bases[0])
        rough = [assess(frame, state.model, view, start, state.colors.posterior).quality for start in starts]
        return [starts[k] for k in np.argsort(rough)[::-1][:3]]

    def _fan(
        self, model: ObjectModel, previous: NDArray[np.float64], predicted: NDArray[np.float64]
    ) -> list[NDArray[np.float64]]:
        """Starts around the prediction and the previous pose."""
        starts = [previous]
        for base in (predicted, previous):
            pivot = center_of(model, base)
            for axis in range(6):
                size = 0.2 * model.diameter if axis < 3 else 0.3
                for sign in (-1.0, 1.0):
                    xi = np.zeros(6)
                    xi[axis] = sign * size
                    starts.append(moved(base, pivot, xi))
        return starts

    def _open(self, model: ObjectModel, fit: Fit) -> bool:
        """The image leaves a turn of the object open that its declared symmetry does not make meaningless."""
        h = fit.information
        turn = h[3:, 3:] - h[3:, :3] @ np.linalg.solve(h[:3, :3] + np.eye(3), h[:3, 3:])
        axis = turning_axis(model)
        if axis is not None:
            turn = turn + OPEN_TURN * np.outer(fit.cam_from_obj[:3, :3] @ axis, fit.cam_from_obj[:3, :3] @ axis)
        return bool(np.linalg.eigvalsh(turn)[0] < OPEN_TURN)

    def _corrected(self, fit: Fit) -> bool:
        """The image holds enough of the object to trust the fit more than the prediction."""
        hidden = fit.occluded > MAX_HIDDEN if fit.measured > 0.2 else fit.occluded_lines > MAX_HIDDEN
        return fit.usable and not hidden and fit.observable

    def _innovation(self, model: ObjectModel, predicted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
        """Pose change in diameters: shift of the centre plus the turn seen at half a diameter."""
        shift = np.linalg.norm(center_of(model, found) - center_of(model, predicted)) / model.diameter
        return float(shift + 0.5 * angle_between(predicted, found))

    def _accept(self, frame: Frame, state: _State, fit: Fit, dt: float, innovation: float) -> None:
        model, rotation, key = state.model, fit.cam_from_obj[:3, :3], state.key
        state.velocity = observe(state.velocity, state.cam_from_obj, fit.cam_from_obj, model.center, dt)
        state.cam_from_obj = fit.cam_from_obj
        state.stamp_ns = frame.stamp_ns
        state.history.append((frame.stamp_ns, fit.cam_from_obj))
        state.view = fit.view
        conditions = conditions_of(fit, model, frame.camera.fx, innovation)
        state.key_covariance = ERRORS.drifted(state.key_covariance, innovation, model.diameter)
        state.covariance = ERRORS.covariance(conditions, turned_axes(state.key_covariance, rotation))
        state.quality += 0.2 * (fit.quality - state.quality)
        # Colours are learnt from good fits only: a drifting track must not teach itself the background.
        if fit.quality > 0.7 * state.quality and fit.behind < 0.15:
            state.colors.learn(count(frame, fit.view, tolerance(model.diameter)), max(fit.inlier, 1.0 - fit.measured))
            self._renew_key(frame, state, fit.view)
        if state.key is not key:
            state.key_covariance = turned_axes(state.covariance, rotation.T)
        if self._watch is not None:
            self._watch(Observation(
                object_name=model.name, stamp_ns=frame.stamp_ns, conditions=conditions, rotation=rotation,
                new_key=state.key is not key))

    def _renew_key(self, frame: Frame, state: _State, view: SparseView) -> None:
        """A new key frame when the old one shows another side; a blurred picture does not replace a sharp one."""
        if state.key is not None and state.key.still_fits(state.cam_from_obj):
            return
        key = make_key_frame(frame, view, state.cam_from_obj, 2 * tolerance(state.model.diameter))
        if key is None or state.key is None or key.sharpness > SHARP_ENOUGH * state.key.sharpness:
            state.key = key

    def _coast(
        self, frame: Frame, state: _State, predicted: NDArray[np.float64], dt: float, innovation: float
    ) -> Track:
        """Keep the prediction; slow down, so that a long occlusion does not carry the pose away."""
        state.velocity = state.velocity.damped(0.7)
        state.covariance = grown(state.covariance, max(dt, 0.0), state.model.diameter)
        carried = self._carried(frame, state)
        if carried:
            predicted = carried[0]
        state.cam_from_obj = predicted
        state.stamp_ns = frame.stamp_ns
        state.unsure = True
        state.frame = frame
        state.history.append((frame.stamp_ns, predicted))
        return self._result(frame, state, innovation, coasting=True)

    def _result(self, frame: Frame, state: _State, innovation: float, *, coasting: bool) -> Track:
        covariance = left_covariance(state.covariance, center_of(state.model, state.cam_from_obj))
        return Track(
            object_name=state.model.name,
            stamp_ns=frame.stamp_ns,
            cam_from_obj=state.cam_from_obj.copy(),
            covariance=0.5 * (covariance + covariance.T),
            innovation=innovation,
            coasting=coasting,
        )

    def _failure(self, name: str, frame: Frame, reason: Reason, detail: str) -> TrackFailure:
        return TrackFailure(object_name=name, stamp_ns=frame.stamp_ns, reason=reason, detail=detail)
