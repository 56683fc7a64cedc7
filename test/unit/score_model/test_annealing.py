"""Samplers on posteriors that are known in closed form: a Gaussian, and a toy object with four equal turns."""

import numpy as np
import pytest
from scipy.stats import chisquare

from storm_core.errors import ConfigError
from storm_core.geometry.pose import angle_between, so3_exp, so3_log
from storm_core.score_model.annealing import SAMPLERS, anneal
from storm_core.score_model.noise import angle_density, rotation_score
from storm_core.score_model.particles import Particles, particles_of, uniform_particles
from storm_core.score_model.schedule import Schedule

SCHEDULE = Schedule()
STEPS = {"ode": 25, "langevin": 120, "predictor_corrector": 60}


class ToyScore:
    """Exact score: centre Gaussian around MEAN with standard deviation SPREAD, rotation one of four turns about z.

    At a level the posterior is smoothed by the noise: N(MEAN, SPREAD^2 + w^2), and a mixture of Gaussians on SO(3).
    """

    MEAN, SPREAD = np.array([0.1, -0.05, 0.2]), 0.03
    BASE = so3_exp([0.4, -0.2, 0.7])

    def __init__(self) -> None:
        self.turns = self.BASE @ so3_exp(np.arange(4)[:, None] * np.array([0, 0, np.pi / 2]))
        self.renders = 0

    def render(self, particles: Particles) -> None:
        self.renders += 1

    def __call__(self, particles: Particles, level: float) -> np.ndarray:
        shift, turn = SCHEDULE.widths(level)
        out = np.zeros((len(particles), 6))
        out[:, :3] = -shift * (particles.centers - self.MEAN) / (self.SPREAD**2 + shift**2)
        omega = so3_log(particles.turns[:, None] @ np.swapaxes(self.turns, 1, 2))  # (N, 4, 3)
        angle = np.linalg.norm(omega, axis=-1)
        density = log_density(angle, turn)
        share = np.exp(density - density.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        slope = rotation_score(angle.reshape(-1), turn).reshape(angle.shape)
        out[:, 3:] = turn * np.sum((share * slope / np.maximum(angle, 1e-9))[..., None] * omega, 1)
        return out


def log_density(angle: np.ndarray, sigma: float) -> np.ndarray:
    """Log-density by Haar measure of the isotropic Gaussian on SO(3), up to a constant."""
    if sigma < 0.5:  # the shortest way alone
        return np.log(angle / np.sin(np.maximum(angle, 1e-6) / 2) + 1e-12) - angle**2 / (2 * sigma**2)
    flat = np.log(angle_density(angle.reshape(-1), sigma) + 1e-300).reshape(angle.shape)
    return flat - np.log(np.maximum(1 - np.cos(angle), 1e-9))


@pytest.mark.parametrize("sigma", [0.05, 0.29, 0.31, 0.8, 1.2, 2.5])
def test_the_rotation_score_is_the_slope_of_the_log_density(sigma: float) -> None:
    angle, h = np.linspace(0.02, min(3.1, 5 * sigma), 60), 1e-5

    def log(a: np.ndarray) -> np.ndarray:
        return np.log(angle_density(a, sigma) / (1 - np.cos(a)))

    numeric = (log(angle + h) - log(angle - h)) / (2 * h)
    np.testing.assert_allclose(rotation_score(angle, sigma), numeric, atol=1e-5 * np.abs(numeric).max())


def test_the_top_level_is_uniform_and_the_lowest_is_sharp() -> None:
    angle = np.linspace(0.01, np.pi, 200)
    top = angle_density(angle, SCHEDULE.widths(1.0)[1])
    uniform = 1 - np.cos(angle)
    assert np.abs(top / top.sum() - uniform / uniform.sum()).max() < 0.02 / len(angle) * 2
    assert SCHEDULE.widths(0.0)[1] == pytest.approx(0.02)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_modes_of_a_symmetric_object_are_found_alike(sampler: str) -> None:
    score, rng = ToyScore(), np.random.default_rng(4)
    start = uniform_particles(400, SCHEDULE.shift_high, rng)
    end = anneal(score, start, SCHEDULE, rng, sampler=sampler, steps=STEPS[sampler]).particles
    angle = angle_between(end.turns[:, None], score.turns)
    assert np.percentile(angle.min(1), 95) < 0.1
    counts = np.bincount(angle.argmin(1), minlength=4)
    assert chisquare(counts).pvalue > 0.01, counts


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_samplers_find_the_same_gaussian(sampler: str) -> None:
    score, rng = ToyScore(), np.random.default_rng(1)
    start = uniform_particles(600, SCHEDULE.shift_high, rng)
    end = anneal(score, start, SCHEDULE, rng, sampler=sampler, steps=STEPS[sampler]).particles
    # The flow keeps a little of where it started: SPREAD / shift_high of 0.2, the distance of MEAN from the start.
    np.testing.assert_allclose(end.centers.mean(0), ToyScore.MEAN, atol=0.016)
    # The last, denoising step takes away a little of the spread; nothing adds any.
    spread = end.centers.std(0)
    assert (spread < 1.35 * ToyScore.SPREAD).all() and (spread > 0.5 * ToyScore.SPREAD).all(), spread


class GaussianScore(ToyScore):
    """Exact score of a Gaussian in shift and turn, where the noise does not wrap around."""

    WIDE = 0.1

    def __call__(self, particles: Particles, level: float) -> np.ndarray:
        turn = SCHEDULE.widths(level)[1]
        out = super().__call__(particles, level)
        out[:, 3:] = -turn * so3_log(particles.turns @ self.BASE.T) / (self.WIDE**2 + turn**2)
        return out


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_particles_keep_the_spread_of_the_posterior(sampler: str) -> None:
    """Covariances are made of it. Many steps, the last of them at levels far below the spread."""
    rng, level, score = np.random.default_rng(2), 0.5, GaussianScore()
    around = np.hypot((score.SPREAD, score.WIDE), SCHEDULE.widths(level))
    start = Particles(score.MEAN + around[0] * rng.normal(size=(400, 3)),
                      so3_exp(around[1] * rng.normal(size=(400, 3))) @ score.BASE)
    end = anneal(score, start, SCHEDULE, rng, sampler=sampler, steps=400, first_level=level).particles
    np.testing.assert_allclose(end.centers.std(0), score.SPREAD, rtol=0.15)
    np.testing.assert_allclose(so3_log(end.turns @ score.BASE.T).std(0), score.WIDE, rtol=0.15)


def test_the_flow_is_deterministic_and_few_steps_nearly_agree_with_many() -> None:
    start = uniform_particles(200, SCHEDULE.shift_high, np.random.default_rng(0))
    ends = [anneal(ToyScore(), start, SCHEDULE, np.random.default_rng(seed), steps=steps).particles
            for seed, steps in ((1, 12), (2, 12), (3, 100))]
    np.testing.assert_array_equal(ends[0].turns, ends[1].turns)
    assert np.mean(angle_between(ends[0].turns, ends[2].turns) < 0.2) > 0.85


def test_renders_come_in_intervals_and_everything_is_kept() -> None:
    score, rng = ToyScore(), np.random.default_rng(0)
    path = anneal(score, uniform_particles(5, 0.5, rng), SCHEDULE, rng, steps=7, render_interval=3)
    assert score.renders == 3
    assert len(path.history) == 8 and path.scores.shape == (7, 5, 6)
    np.testing.assert_allclose(path.levels[[0, -1]], [1.0, 0.0])


def test_unknown_samplers_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="'walk'; known: ode"):
        anneal(ToyScore(), uniform_particles(2, 0.5, rng), SCHEDULE, rng, sampler="walk")


def test_particles_and_poses_are_inverse() -> None:
    rng = np.random.default_rng(0)
    some, origin, center = uniform_particles(9, 0.5, rng), rng.normal(size=3), rng.normal(size=3)
    again = particles_of(some.poses(origin, center, 0.2), origin, center, 0.2)
    np.testing.assert_allclose(again.centers, some.centers, atol=1e-12)
    np.testing.assert_allclose(again.turns, some.turns, atol=1e-12)


def test_uniform_rotations_are_uniform() -> None:
    """The angle of a uniform rotation has the density (1 - cos a) / pi."""
    angle = angle_between(np.eye(3), uniform_particles(20000, 0.1, np.random.default_rng(0)).turns)
    edges = np.linspace(0, np.pi, 11)
    share = np.diff(edges - np.sin(edges)) / np.pi
    assert chisquare(np.histogram(angle, edges)[0], share * len(angle)).pvalue > 0.01
