"""RegionDepthTracker: follows many objects from frame to frame, one alignment per object and frame."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from storm_core.config import TrackingConfig
from storm_core.errors import InputError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, inverse, proper, require_pose
from storm_core.parallel import on_threads
from storm_core.render_compare.choice import Proposals
from storm_core.tracking.determined import leaves_open
from storm_core.tracking.fit_covariance import fit_covariance
from storm_core.tracking.following import BLIND, believed, best_fit, carried, expected, explained
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.modalities import MEASURED, colorless
from storm_core.tracking.motion import Velocity, grown, observe
from storm_core.tracking.optimise import (
    Fit,
    assess,
    center_of,
    tolerance,
)
from storm_core.tracking.reseed import Look, Seen, surprise
from storm_core.tracking.sparse_model import SparseView, rendered_view
from storm_core.tracking.state import HISTORY, TrackState
from storm_core.tracking.symmetric import continued
from storm_core.tracking.texture import brightness_images, make_key_frame
from storm_core.tracking.uncertainty import DEFAULT as ERRORS
from storm_core.tracking.uncertainty import Observation, conditions_of, left_covariance, turned_axes
from storm_core.tracking.wide_search import LEISURE, searched_widely
from storm_core.types import Frame, Reason, Registration, Track, TrackFailure

MIN_INSIDE = 0.12
"""Share of the silhouette inside the image below which the object has left the view."""

NEAREST = 0.02
"""Distance [m] of its centre from which on an object is before the camera."""

MAX_HIDDEN = 0.92
"""Share of the object behind something else above which the prediction is believed more than the image."""

MAX_CONTRADICTED = 5
"""Frames in a row in which depth may contradict the pose before the track ends."""

SHARP_ENOUGH = 0.6
"""Sharpness, relative to the last key frame's, that a new key frame needs."""

COASTING_DAMP = 0.7
"""Share of the velocity that survives a frame that did not correct it."""

CORRECTION = 0.15
"""Innovation [diameters] against constant velocity, after a frame that did not hold the object, that corrects it."""

SHADOWED = 0.5
"""Share of what is measured that is in front of the object, from which missing depth is an occluder's shadow."""

TWIN_TURN = 0.35
"""Turn [rad] against the prediction from which on a symmetric object may have been mistaken for its twin."""


class RegionDepthTracker:
    """The default Tracker: colour regions, depth and remembered texture; no weights, one CPU core."""

    def __init__(
        self,
        models: dict[str, ObjectModel],
        config: TrackingConfig,
        watch: Callable[[Observation], None] | None = None,
        propose: Proposals | None = None,
    ) -> None:
        """watch: told of every fit that corrects a pose; the error model is fitted to that. propose: the learned
        refiner, which searches with it; None = geometry and colour alone."""
        self._propose = propose
        self._models = models
        self._config = config
        self._watch = watch
        self._states: dict[str, TrackState] = {}
        self._last: dict[str, Seen] = {}

    def start(self, frame: Frame, registration: Registration) -> Registration:
        """Follow an object from a registered pose; replaces what was known about it.

        Returns the registration that is followed: of the poses that a declared symmetry makes equal, the one that
        continues the last known pose, so that a re-registration never shows as a flip.
        """
        name = registration.object_name
        if name not in self._models:
            raise InputError(f"cannot track unknown object {name!r}; known: {', '.join(self._models) or 'none'}")
        model = self._models[name]
        pose = np.array(registration.cam_from_obj, np.float64, order="C")
        if name in self._last:
            pose = continued(model, pose, self._last[name].expected(frame))
            registration = replace(registration, cam_from_obj=pose.copy())
        view = rendered_view(model, pose, frame.camera)
        colors = ColorModel(count(frame, view, tolerance(model.diameter)))
        fit = assess(frame, model, view, pose, colors.posterior)
        covariance = left_covariance(registration.covariance, -center_of(model, pose))
        seen = Seen(frame, pose)
        state = TrackState(
            model=model,
            cam_from_obj=pose,
            covariance=covariance,
            key_covariance=turned_axes(covariance, pose[:3, :3].T),
            stamp_ns=registration.stamp_ns,
            colors=colors,
            quality=fit.quality,
            explained=explained(fit),
            contrast=fit.contrast,
            anchor=seen,
            last=seen,
            key=make_key_frame(frame, view, pose, 2 * tolerance(model.diameter)),
        )
        state.history.append((registration.stamp_ns, pose))
        self._states[name] = state
        self._last[name] = state.last
        return registration

    def stop(self, object_name: str) -> None:
        """Follow an object no longer, but remember where it was last seen; unknown names are fine."""
        self._states.pop(object_name, None)

    def reset(self, object_name: str) -> None:
        """Forget all about an object, as if it had never been started; unknown names are fine."""
        self.stop(object_name)
        self._last.pop(object_name, None)

    def renew(self, models: dict[str, ObjectModel], config: TrackingConfig) -> None:
        """Other models or settings from now on; what is followed and still the same goes on."""
        for name, model in self._models.items():
            if name not in models or models[name].sha256 != model.sha256:
                self.reset(name)
        self._models, self._config = models, config

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
        # A correction by a declared symmetry would correct nothing and show as a flip.
        obj_correction = continued(state.model, inverse(then) @ correction @ then, np.eye(4))
        # Corrections are made from corrected poses: without this their rounding errors double with each.
        corrected = proper(np.stack([pose for _, pose in state.history]) @ obj_correction)
        stamps = [stamp for stamp, _ in state.history]
        state.history = deque(zip(stamps, corrected, strict=True), maxlen=HISTORY)
        state.cam_from_obj = state.history[-1][1]
        state.anchor = state.last = self._last[object_name] = Seen(state.last.frame, state.cam_from_obj)
        state.key = None  # it would pull the texture back to where the corrected pose saw it
        return True

    def track(self, frame: Frame) -> dict[str, Track | TrackFailure]:
        """The pose of every followed object in this frame; an object that fails is forgotten."""
        names = list(self._states)
        brightness_images(frame)  # once for all objects, before their threads ask for it together
        found = on_threads(lambda name: self._follow(frame, self._states[name]), names)
        for name, result in zip(names, found, strict=True):
            if isinstance(result, TrackFailure):
                self.stop(name)
        return dict(zip(names, found, strict=True))

    def _follow(self, frame: Frame, state: TrackState) -> Track | TrackFailure:
        model, name = state.model, state.model.name
        dt = (frame.stamp_ns - state.stamp_ns) * 1e-9
        camera_motion = frame.camera_motion(state.last.frame)
        if camera_motion is not None:
            state.see_from(camera_motion)
        predicted = expected(state, dt, self._config)
        if center_of(model, predicted)[2] < NEAREST:  # a velocity may be wrong
            predicted = state.cam_from_obj
        if center_of(model, predicted)[2] < NEAREST:
            return self._failure(name, frame, Reason.OUT_OF_VIEW, "behind the camera")
        blind = colorless(frame, center_of(model, predicted), model.diameter)
        look = BLIND if blind else Look(state.colors.posterior, state.key)
        found = best_fit(frame, state, look, predicted, dt, self._config, self._propose)
        if dt > LEISURE and found.look is not BLIND:
            found = searched_widely(frame, state, predicted, found, dt, self._config, self._propose)
        fit, base = found.fit, found.base
        absent = {Reason.NO_DEPTH: fit.depth_share < MEASURED, Reason.NO_COLOR: found.look is BLIND}
        missing = tuple(reason for reason, yes in absent.items() if yes)
        believable = found.good and found.innovation <= believed(dt, self._config)
        # A fit that ran away says nothing about the place where the object was last seen; the expected one does.
        there = fit if believable else self._assessed(frame, model, base, found.look)
        if there.view.inside < MIN_INSIDE:
            return self._failure(
                name, frame, Reason.OUT_OF_VIEW, f"{there.view.inside:.0%} of the object is in the image"
            )
        contradicted = there.measured > 0.2 and there.behind > 0.5 and there.inlier < 0.3
        state.contradicted = state.contradicted + 1 if contradicted else 0
        if state.contradicted >= MAX_CONTRADICTED:
            return self._failure(
                name, frame, Reason.DEPTH_DISAGREES, f"the camera sees through {there.behind:.0%} of it"
            )
        if contradicted or not believable or len(missing) == 2 or not self._corrected(fit):
            return self._coast(frame, state, dt, found.innovation, missing)
        if len(model.symmetries) > 1 and angle_between(base, fit.cam_from_obj) > TWIN_TURN:
            pose = continued(model, fit.cam_from_obj, base)
            if angle_between(pose, fit.cam_from_obj) > TWIN_TURN:
                fit = self._assessed(frame, model, pose, found.look)
        if found.look is BLIND and not blind:
            state.colors, state.key = ColorModel(count(frame, fit.view, tolerance(model.diameter))), None
        # In an occluder's shadow nothing but what was learnt before holds the pose, and that must not follow it.
        shadowed = Reason.NO_DEPTH in missing and fit.occluded > SHADOWED
        self._accept(frame, state, fit, dt, found.innovation, learn=not blind and not shadowed)
        left_open = leaves_open(model, fit)
        state.unsure = left_open or bool(missing)
        if not state.unsure:
            state.anchor = state.last
        held = not (left_open and missing)
        if not held:  # what was predicted along the open direction must not confirm itself
            state.velocity = state.velocity.damped(COASTING_DAMP)
        region = float("nan") if found.look is BLIND else fit.contrast
        return self._result(frame, state, found.innovation, missing, coasting=not held, region=region)

    def _assessed(self, frame: Frame, model: ObjectModel, pose: NDArray[np.float64], look: Look) -> Fit:
        return assess(frame, model, rendered_view(model, pose, frame.camera), pose, look.posterior, look.key)

    def _corrected(self, fit: Fit) -> bool:
        """The image holds enough of the object to trust the fit more than the prediction."""
        # In an occluder's shadow what is measured may be the occluder alone, and the contour in plain view.
        hidden = fit.occluded_lines > MAX_HIDDEN and (fit.occluded > MAX_HIDDEN or fit.measured <= MEASURED)
        return fit.usable and not hidden and fit.observable

    def _accept(
        self, frame: Frame, state: TrackState, fit: Fit, dt: float, innovation: float, *, learn: bool
    ) -> None:
        model, rotation, key = state.model, fit.cam_from_obj[:3, :3], state.key
        if state.unsure and surprise(model, expected(state, dt, self._config), fit.cam_from_obj) > CORRECTION:
            state.velocity = Velocity()  # the pose was wrong before: a correction is no motion
        else:
            state.velocity = observe(state.velocity, state.cam_from_obj, fit.cam_from_obj, model.center, dt)
        state.cam_from_obj = fit.cam_from_obj
        state.stamp_ns = frame.stamp_ns
        state.coasted = 0
        state.last = Seen(frame, fit.cam_from_obj)
        state.history.append((frame.stamp_ns, fit.cam_from_obj))
        state.view = fit.view
        state.covariance, state.key_covariance = fit_covariance(
            ERRORS, fit, model, frame.camera.fx, innovation, state.key_covariance)
        state.quality += 0.2 * (fit.quality - state.quality)
        state.explained += 0.2 * (explained(fit) - state.explained)
        if learn:
            state.contrast += 0.2 * (fit.contrast - state.contrast)
        # Colours are learnt from good fits only: a drifting track must not teach itself the background.
        if learn and fit.quality > 0.7 * state.quality and fit.behind < 0.15:
            state.colors.learn(count(frame, fit.view, tolerance(model.diameter)), max(fit.inlier, 1.0 - fit.measured))
            self._renew_key(frame, state, fit.view)
        if state.key is not key:
            state.key_covariance = turned_axes(state.covariance, rotation.T)
        if self._watch is not None:
            self._watch(Observation(
                object_name=model.name, stamp_ns=frame.stamp_ns, rotation=rotation, new_key=state.key is not key,
                conditions=conditions_of(fit, model, frame.camera.fx, innovation)))

    def _renew_key(self, frame: Frame, state: TrackState, view: SparseView) -> None:
        """A new key frame when the old one shows another side; a blurred picture does not replace a sharp one."""
        if state.key is not None and state.key.still_fits(state.cam_from_obj):
            return
        key = make_key_frame(frame, view, state.cam_from_obj, 2 * tolerance(state.model.diameter))
        if key is None or state.key is None or key.sharpness > SHARP_ENOUGH * state.key.sharpness:
            state.key = key

    def _coast(
        self, frame: Frame, state: TrackState, dt: float, innovation: float, missing: tuple[Reason, ...]
    ) -> Track:
        """Keep the prediction; slow down, so that a long occlusion does not carry the pose away."""
        state.covariance = grown(state.covariance, max(dt, 0.0), state.model.diameter)
        with_scene = carried(frame, state)
        predicted = with_scene[0] if with_scene else expected(state, dt, self._config)
        state.cam_from_obj = predicted
        state.stamp_ns = frame.stamp_ns
        state.velocity = state.velocity.damped(COASTING_DAMP)
        state.unsure = True
        state.coasted += 1
        state.last = Seen(frame, state.cam_from_obj)
        state.history.append((frame.stamp_ns, predicted))
        return self._result(frame, state, innovation, missing, coasting=True)

    def _result(
        self, frame: Frame, state: TrackState, innovation: float, missing: tuple[Reason, ...], *, coasting: bool,
        region: float = float("nan"),
    ) -> Track:
        self._last[state.model.name] = state.last
        return Track(
            object_name=state.model.name,
            stamp_ns=frame.stamp_ns,
            cam_from_obj=state.cam_from_obj.copy(),
            covariance=left_covariance(state.covariance, center_of(state.model, state.cam_from_obj)),
            innovation=innovation,
            coasting=coasting,
            missing=missing,
            region=region,
        )

    def _failure(self, name: str, frame: Frame, reason: Reason, detail: str) -> TrackFailure:
        return TrackFailure(object_name=name, stamp_ns=frame.stamp_ns, reason=reason, detail=detail)
