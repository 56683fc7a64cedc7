"""Samplers: from noise to the posterior, along the levels of a noise-conditioned score.

A score function answers `width * gradient of the log-density` at a level, for shift and turn each in its own unit, so
that its answers are about standard normal whatever the level. All increments are left-invariant at the object centre.
Widths fall by a constant factor per step (Song et al., Score-based generative modelling through SDEs, ICLR 2021).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import ConfigError
from storm_core.score_model.particles import Particles
from storm_core.score_model.schedule import Schedule

SAMPLERS = ("ode", "langevin", "predictor_corrector")

DIFFUSION = 0.6
"""Langevin steps: variance added per step, in squared widths."""

CORRECTION = 0.16
"""The same for the corrector."""

NOISE_FREE = 0.1
"""Last share of the steps of the predictor-corrector that adds no noise."""


class ScoreFunction(Protocol):
    """The score of particles at a level in [0, 1]."""

    def render(self, particles: Particles) -> None:
        """Look anew at what the particles would show; in between, what they showed last is carried along."""
        ...

    def __call__(self, particles: Particles, level: float) -> NDArray[np.float64]:
        """(N, 6) score times width: shift, turn."""
        ...


@dataclass(frozen=True, eq=False)
class Path:
    """What a sampler did.

    Attributes:
      particles: at the end. history: before the first and after each of the S steps.
      scores: (S, N, 6) score times width that each step followed. levels: (S,) its level.
    """

    particles: Particles
    history: tuple[Particles, ...]
    scores: NDArray[np.float64]
    levels: NDArray[np.float64]


def anneal(score: ScoreFunction, start: Particles, schedule: Schedule, rng: np.random.Generator, *,
           sampler: str = "ode", steps: int = 12, first_level: float = 1.0, render_interval: int = 1) -> Path:
    """Move particles from the noise of `first_level` to the posterior.

    Args:
      sampler: ode: probability flow, deterministic, few steps. langevin: one Langevin step per level.
        predictor_corrector: ancestral step and Langevin step per level, two scores each.
      render_interval: steps between two looks at what the particles show.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(f"unknown sampler {sampler!r}; known: {', '.join(SAMPLERS)}")
    levels = np.linspace(first_level, 0.0, steps) if steps > 1 else np.array([first_level])
    step = {"ode": _Flow(), "langevin": _langevin, "predictor_corrector": _predict_and_correct}[sampler]
    particles, history, scores = start, [start], []
    for i, level in enumerate(levels):
        if i % render_interval == 0:
            score.render(particles)
        after = levels[i + 1] if i + 1 < steps else None
        # Langevin steps are noisy down to the last level: steps without noise take away the posterior's own spread.
        loud = sampler != "predictor_corrector" or i < steps - max(1, round(NOISE_FREE * steps))
        particles, s = step(score, particles, schedule, level, after, rng if loud else None)
        history.append(particles)
        scores.append(s)
    return Path(particles, tuple(history), np.array(scores), levels)


def _six(schedule: Schedule, level: float | None) -> NDArray[np.float64]:
    """Widths (6,) of shift and turn at a level; zeros after the last one."""
    return np.zeros(6) if level is None else np.repeat(schedule.widths(level), 3)


class _Flow:
    """Probability flow dx = -w s dw, one score per step, second order: the denoised pose that a step goes towards is
    extrapolated from this score and the last one (the two-step solver of Lu et al., DPM-Solver++, 2022, for levels that
    are evenly spaced in log w). The last step goes to the denoised pose itself."""

    def __init__(self) -> None:
        self._ahead: NDArray[np.float64] | None = None
        """(N, 6) increment from where the last step ended to the pose that it took for the denoised one."""

    def __call__(self, score: ScoreFunction, x: Particles, schedule: Schedule, level: float, after: float | None,
                 rng: np.random.Generator | None) -> tuple[Particles, NDArray[np.float64]]:
        s, width, lower = score(x, level), _six(schedule, level), _six(schedule, after)
        denoised = target = width * s
        if self._ahead is not None and after is not None:
            target = denoised + 0.5 * (denoised - self._ahead)
        increment = (1 - lower / width) * target
        self._ahead = denoised - increment
        return x.moved(increment), s


def _langevin(score: ScoreFunction, x: Particles, schedule: Schedule, level: float, after: float | None,
              rng: np.random.Generator | None) -> tuple[Particles, NDArray[np.float64]]:
    """x + d w^2 s / 2 + sqrt(d) w z with d = DIFFUSION; at the last level, to the denoised pose.

    That last step takes off the noise of the last level alone, and little of a posterior that is wider than it.
    """
    s, width = score(x, level), _six(schedule, level)
    if rng is None or after is None:
        return x.moved(width * s), s
    return x.moved(width * (0.5 * DIFFUSION * s + np.sqrt(DIFFUSION) * rng.normal(size=s.shape))), s


def _predict_and_correct(score: ScoreFunction, x: Particles, schedule: Schedule, level: float, after: float | None,
                         rng: np.random.Generator | None) -> tuple[Particles, NDArray[np.float64]]:
    """Ancestral step of the reversed diffusion to the next level, then a Langevin step there."""
    if rng is None or after is None:
        return _Flow()(score, x, schedule, level, after, rng)
    s, width, lower = score(x, level), _six(schedule, level), _six(schedule, after)
    removed = width**2 - lower**2
    x = x.moved(removed / width * s + np.sqrt(removed) * lower / width * rng.normal(size=s.shape))
    again = score(x, after)
    return x.moved(lower * (0.5 * CORRECTION * again + np.sqrt(CORRECTION) * rng.normal(size=s.shape))), s
