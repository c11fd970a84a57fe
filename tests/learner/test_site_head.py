"""The site head: invariant under turns, right on what it has seen, unsure of what it has not."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from learner.errors import InputError
from learner.site_head import N_FEATURES, REACH, SiteHead, describe


def neighbourhoods(n: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    vectors = [rng.normal(size=(rng.integers(3, 12), 3)) for _ in range(n)]
    vectors = [v / np.linalg.norm(v, axis=1)[:, None] * rng.uniform(0.8, 2.4, (len(v), 1)) for v in vectors]
    return vectors, [rng.random(len(v)) < 0.5 for v in vectors]


def bound(vectors: list[np.ndarray]) -> np.ndarray:
    """An energy that depends on the neighbours' distances."""
    return np.array([-np.exp(-2 * (np.linalg.norm(v, axis=1) - 1) ** 2).sum() for v in vectors])


def test_turned_mirrored_and_renumbered_is_the_same() -> None:
    vectors, same = neighbourhoods(20)
    raw = np.linspace(-3, 3, 20)
    before = describe(vectors, same, raw)
    assert before.shape == (20, N_FEATURES)
    turn = Rotation.random(random_state=1).as_matrix() @ np.diag([1.0, 1.0, -1.0])
    rng = np.random.default_rng(2)
    orders = [rng.permutation(len(v)) for v in vectors]
    after = describe(
        [v[o] @ turn.T for v, o in zip(vectors, orders, strict=True)],
        [s[o] for s, o in zip(same, orders, strict=True)],
        raw,
    )
    assert after == pytest.approx(before, abs=1e-9)


def test_what_is_far_or_of_another_species_is_told_apart() -> None:
    vectors, same = neighbourhoods(5)
    raw = np.zeros(5)
    far = [np.concatenate([v, [[REACH, 0.0, 0.0]]]) for v in vectors]
    beyond = describe(far, [np.append(s, True) for s in same], raw)
    assert beyond == pytest.approx(describe(vectors, same, raw), abs=1e-9)
    other = describe(vectors, [~s for s in same], raw)
    assert np.abs(other - describe(vectors, same, raw)).max() > 0.1


def test_it_learns_and_knows_what_it_has_not_seen() -> None:
    vectors, same = neighbourhoods(400)
    features = describe(vectors, same, np.zeros(400))
    head = SiteHead(features[:300], bound(vectors)[:300], np.full(300, 0.3))
    new = head(features[300:])
    errors = np.abs(new.energy - bound(vectors)[300:])
    assert errors.mean() < 0.35 * np.std(bound(vectors))
    assert new.displacement == pytest.approx(0.3, abs=0.01)
    known = head(features[:300])
    assert known.energy_std.mean() < new.energy_std.mean()
    crowded = [np.concatenate([v] * 4) * 0.9 for v in vectors[:20]]
    strange = head(describe(crowded, [np.concatenate([s] * 4) for s in same[:20]], np.zeros(20)))
    assert strange.energy_std.min() > new.energy_std.mean()


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    vectors, same = neighbourhoods(40)
    features = describe(vectors, same, np.zeros(40))
    head = SiteHead(features, bound(vectors), np.ones(40))
    assert SiteHead.load(tmp_path) is None
    head.save(tmp_path)
    again = SiteHead.load(tmp_path)
    assert again is not None
    assert len(again) == 40
    assert (again(features).energy == head(features).energy).all()


@pytest.mark.parametrize(("n", "value"), [(9, 0.0), (12, np.nan)])
def test_too_little_or_no_number_is_refused(n: int, value: float) -> None:
    with pytest.raises(InputError, match="site head"):
        SiteHead(np.zeros((n, N_FEATURES)), np.full(n, value), np.zeros(n))


def test_nothing_is_described_as_nothing() -> None:
    assert describe([], [], np.zeros(0)).shape == (0, N_FEATURES)
