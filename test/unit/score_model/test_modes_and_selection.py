"""Modes of particle sets, and the rules that choose one particle."""

import numpy as np
import pytest

from storm_core.errors import InputError
from storm_core.geometry.pose import so3_exp
from storm_core.score_model.modes import find_modes, local_spread
from storm_core.score_model.results import results_as_df
from storm_core.score_model.selection import RULES, possible, select
from test.synthetic import textured_box
from test.unit.tracking.scenes import disturbed, swing, wedge

MODEL = wedge()
POSE = swing(1)[0]


def particles(count: int, rng: np.random.Generator) -> np.ndarray:
    """Poses around POSE and around its half turn about the object's x axis, two to one."""
    flipped = POSE.copy()
    flipped[:3, :3] = POSE[:3, :3] @ so3_exp([np.pi, 0, 0])
    return np.stack([disturbed(flipped if k % 3 == 2 else POSE, rng.normal(0, 0.001, 3), rng.normal(0, 0.02, 3),
                               MODEL.center) for k in range(count)])


def test_two_modes_are_found_with_their_shares() -> None:
    poses = particles(30, np.random.default_rng(0))
    modes = find_modes(MODEL, poses, np.full(30, 1 / 30))
    assert [round(mode.weight, 3) for mode in modes] == [0.667, 0.333]
    assert set(modes[1].members) == set(range(2, 30, 3))


def test_the_spread_is_that_of_the_own_mode() -> None:
    spread = local_spread(MODEL, POSE, particles(900, np.random.default_rng(1)), np.full(900, 1 / 900))
    np.testing.assert_allclose(np.sqrt(np.diag(spread)), [0.001] * 3 + [0.02] * 3, rtol=0.15)


def record(**more: object) -> dict:
    n = 4
    return {"image": "1/0", "object": "1", "diameter": 0.1, "sampled_poses": np.tile(POSE, (n, 1, 1)),
            "fitness": np.array([0.1, 0.9, 0.2, 0.3]), **more}


FULL = record(score_norms=np.array([3, 2, 1, 4.0]), latent_distances=np.array([3, 2, 4, 1.0]),
              explained=np.array([0.1, 0.2, 1.4, 0.3]),
              expected_errors=np.array([0.5, 0.02, 0.4, 0.01]), true_errors=np.array([0.001, 0.05, 0.02, 0.03]))


def test_every_rule_takes_what_it_says() -> None:
    chosen = {rule: select(FULL, rule) for rule in RULES}
    assert chosen == {"random": 0, "score": 2, "latent": 3, "fitness": 1, "explained": 2, "learned": 3, "combined": 1,
                      "oracle": 0}


def test_rules_without_their_numbers_are_refused_or_left_out() -> None:
    assert possible(record()) == ("random", "fitness")
    with pytest.raises(InputError, match="oracle needs 'true_errors'.*ground truth"):
        select(record(), "oracle")
    with pytest.raises(InputError, match="score_model.method: network"):
        select(record(), "latent")
    with pytest.raises(InputError, match="'best'; known: random"):
        select(FULL, "best")


def test_the_table_has_a_row_per_rule() -> None:
    table = results_as_df([FULL, record()])
    assert list(table.selection) == [*RULES, "random", "fitness"]
    row = table[table.selection == "oracle"].iloc[0]
    assert row.error_mm == pytest.approx(1.0) and row.right and row.z_mm == pytest.approx(1e3 * POSE[2, 3])


def test_a_pose_that_every_particle_has_left_gets_no_spread_from_them() -> None:
    model = textured_box()
    pose, far = np.eye(4), np.eye(4)[None].repeat(3, 0)
    pose[2, 3] = far[:, 2, 3] = 0.6
    far[:, 0, 3] += 2 * model.diameter
    assert local_spread(model, pose, far, np.full(3, 1 / 3)) is None
    spread = local_spread(model, pose, pose[None], np.ones(1))
    assert spread is not None and np.abs(spread).max() < 1e-12
