"""Typical sets of known laws, brute force, and the typicality benchmark: what it asks, scores and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preimage.benchmarks.typicality import Typicality, TypicalityOptions
from preimage.harness.benchmark import metric_info
from preimage.harness.errors import Refused, UsageError
from preimage.harness.likelihood_requests import Likelihood, Simulated
from preimage.harness.plugins import Registry, Sources
from preimage.harness.results import Results
from preimage.harness.typical_sets import TypicalSets
from preimage.harness.world import World
from tests.hand_rows import by_metric, likelihoods
from tests.test_likelihood_rows import QUICK
from tests.test_likelihood_rows import plugin as plugin
from tests.test_run import preimage
from tests.test_truth import measured


def normal(mean: float, sd: float, n: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(mean, sd, n)


@pytest.mark.parametrize("size", [10, 75])
def test_epsilon_is_that_of_a_normal_law(size: int) -> None:
    """Means of N normal values lie within 1.96 sd / sqrt(N) of the expectation in 95 % of sets."""
    generated = normal(-500, 30, 4000, 0)
    found = TypicalSets(generated, size, sets=4000).epsilon()
    wanted = 1.96 * generated.std() / np.sqrt(size)
    assert found.value == pytest.approx(wanted, rel=0.05)
    assert found.low < wanted * 1.1 and found.high > wanted * 0.9 and found.n == 4000


def test_epsilon_holds_in_95_percent_of_bootstrap_sets() -> None:
    generated = np.random.default_rng(4).exponential(10, 64)  # skewed
    sets = TypicalSets(generated, 20)
    rng = np.random.default_rng(99)
    means = rng.choice(generated, (20_000, 20)).mean(axis=1)
    inside = np.abs(means - generated.mean()) <= sets.epsilon().value
    assert inside.mean() == pytest.approx(0.95, abs=0.015)


def test_shares_equal_brute_force() -> None:
    generated, group = normal(0, 1, 40, 1), normal(0.25, 1.5, 30, 2)
    sets = TypicalSets(generated, 12, trials=300, sets=2000)
    epsilon = sets.epsilon().value
    rng = np.random.default_rng(7)

    def brute(pool: Any) -> float:
        picks = [rng.choice(pool, 12, replace=False).mean() for _ in range(8000)]
        return float((np.abs(np.array(picks) - generated.mean()) <= epsilon).mean())

    assert sets.share(group).value == pytest.approx(brute(group), abs=0.08)
    assert sets.share_generated().value == pytest.approx(brute(generated), abs=0.04)
    assert sets.share(generated).value == sets.share_generated().value
    assert sets.share(group).n == 30


def test_sets_hold_distinct_images_and_a_whole_pool_is_one_set() -> None:
    places = TypicalSets(np.zeros(5), 4, trials=50)._distinct(9)
    assert places.shape == (50, 9) and set(np.unique(places)) == {0.0, 0.25}
    assert (places.sum(axis=1) == 1).all() and len({row.tobytes() for row in places}) > 30
    assert (np.abs(places.mean(axis=0) * 9 - 1) < 0.6).all(), "every image has its turn"
    generated = normal(0, 1, 40, 1)
    whole = TypicalSets(generated, 40).share_generated()
    assert whole.value == 1, "the mean of all images is H itself"


def test_other_laws_are_told_from_the_models_own() -> None:
    generated, same, off = normal(0, 1, 400, 1), normal(0, 1, 400, 2), normal(0.5, 1, 400, 3)
    small, large = TypicalSets(generated, 5), TypicalSets(generated, 75)
    assert large.share(same).value > 0.8 and small.share(same).value > 0.85
    assert large.share(off).value < 0.05 < small.share(off).value
    wide = normal(0, 5, 400, 4)
    assert small.share(wide).value < 0.5 < 0.99 <= TypicalSets(wide, 5).share(generated).value, "swapped"
    certain = large.share(off - 10)
    assert (certain.low, certain.value, certain.high) == (0, 0, 0)


def test_the_interval_covers_the_share_of_endless_images() -> None:
    """The share that endless images have, by its closed form, lies in 95 % intervals of samples about that often."""
    from scipy.stats import norm

    size, shift = 10, 0.5
    reach, apart = 1.96, shift * np.sqrt(size)
    truth = norm.cdf(reach - apart) - norm.cdf(-reach - apart)
    hits = 0
    for seed in range(60):
        sets = TypicalSets(normal(0, 1, 150, 2 * seed), size, trials=400, sets=400, seed=seed)
        found = sets.share(normal(shift, 1, 150, 2 * seed + 1))
        hits += found.low <= truth <= found.high
    assert hits >= 52


def test_the_seed_makes_the_sets() -> None:
    generated, group = normal(0, 1, 40, 1), normal(0.3, 1, 40, 2)
    first, again, other = (TypicalSets(generated, 9, seed=seed).share(group) for seed in (0, 0, 1))
    assert first == again != other


def test_every_score_has_its_name() -> None:
    options = TypicalityOptions(sizes=(4, 6), sets=("digits",), sets_if_present=("svhn",), trials=40, bootstrap=50)
    generated = normal(100, 5, 12, 0)
    rows = {
        "generated": likelihoods(generated),
        "train": likelihoods(normal(100, 5, 5, 1)),
        "outliers digits": likelihoods(normal(50, 5, 6, 2)),
        "outliers svhn": likelihoods(generated),
    }
    found = by_metric(Typicality().summarise(rows, options))
    assert found.keys() == {
        "share_generated/4", "share_train/4", "share_digits/4", "share_svhn/4", "epsilon/4",
        "share_generated/6", "share_digits/6", "share_svhn/6", "epsilon/6", "entropy",
    }, "five training images fill no set of six"  # fmt: skip
    assert found["entropy"].estimate.value == pytest.approx(-generated.mean())
    assert found["share_digits/4"].estimate.value == 0
    assert found["share_svhn/6"].estimate.value == found["share_generated/6"].estimate.value > 0.5
    for name in found:
        assert metric_info(Typicality(), name).meaning
    assert metric_info(Typicality(), "share_svhn/6").better == "none"
    assert metric_info(Typicality(), "share_train/4").better == "higher"


def test_a_conditional_models_images_are_judged_by_their_marginal() -> None:
    options = TypicalityOptions(sizes=(4,), sets=("digits",), trials=40, bootstrap=50)
    table = np.stack([normal(0, 5, 12, 0), normal(0, 5, 12, 1)], axis=1)
    rows = {role: likelihoods(table, labels=2) for role in ("generated", "train", "outliers digits")}
    found = by_metric(Typicality().summarise(rows, options))
    assert found["entropy"].estimate.value == pytest.approx(-np.log(np.exp(table).mean(axis=1)).mean())
    assert found["share_train/4"].estimate.n == 12


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sizes": ()}, "`sizes` is []; name at least one number of images, each once"),
        ({"sizes": (5, 5)}, "`sizes` is [5, 5]"),
        ({"sizes": (0,)}, "`sizes` is [0]"),
        ({"trials": 0}, "`trials` is 0; it must be at least 1"),
        ({"bootstrap": 19}, "`bootstrap` is 19; a quantile of 95 % needs at least 20 sets"),
        ({"sets": ("digits", "digits")}, "the outlier sets are ['digits', 'digits']"),
    ],
)
def test_wrong_options_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        TypicalityOptions(**wrong)
    assert said in str(error.value)


def test_what_it_asks_for_and_what_it_refuses(plugin: Path) -> None:
    world = World(Registry(Sources(plugins=(str(plugin),))))
    data = world.data("grains")
    small = {"sizes": (5,), "sets": ("inverted",)}
    asks = Typicality().requests(world.model("classes"), data, TypicalityOptions(limit=9, **small))
    assert {role: ask.count for role, ask in asks.items()} == {"generated": 9, "train": 9, "outliers inverted": 9}
    for role, ask in asks.items():
        assert isinstance(ask.request, Likelihood) and ask.request.label == "every"
        assert isinstance(ask.request.images, Simulated) == (role == "generated")
    every = Typicality().requests(world.model("linear"), data, TypicalityOptions(limit=None, **small))
    assert {role: ask.count for role, ask in every.items()} == {"generated": 12, "train": 32, "outliers inverted": 12}
    grid = Typicality().requests(world.model("linear"), data, TypicalityOptions(sigma2=(0.1, 0.2), **small))
    assert len(grid) == 6 and "train/sigma2=0.2" in grid
    with pytest.raises(Refused, match="there are 4 images of each group, and the smallest set has 5"):
        Typicality().requests(world.model("linear"), data, TypicalityOptions(limit=4, **small))
    with pytest.raises(Refused, match="outlier set 'grains' is the data set itself"):
        Typicality().requests(world.model("linear"), data, TypicalityOptions(sets=("grains",)))
    with pytest.raises(Refused, match="no density"):
        Typicality().requests(world.model("vague"), data, TypicalityOptions())


def test_a_run_scores_what_the_rows_say(plugin: Path, tmp_path: Path) -> None:
    database = tmp_path / "a.db"
    own = [setting for setting in QUICK if not setting.startswith("simulated")]
    words = [word for setting in (*own, "sizes=[4]", "sets=[inverted]", "limit=8") for word in ("--set", setting)]
    run = ("run", "-b", "typicality", "-m", "classes", "--plugin", str(plugin), "--db", str(database), "--workers", "1")
    assert preimage(*run, *words) == 0
    rows, scores = measured(database, "classes", "typicality", "generated")
    log_p = np.log(np.exp(rows.table("log_likelihood")).mean(axis=1))
    assert log_p.shape == (8,) and "gap" not in rows.values, "under every label the codes are not exact"
    assert scores["entropy"] == pytest.approx(-log_p.mean())
    assert {"share_generated/4", "share_train/4", "share_inverted/4", "epsilon/4"} <= scores.keys()
    with Results(database) as results:
        told = {row["metric"]: row for row in results.scores()}
    assert told["share_inverted/4"]["unit"] == "share" and told["share_train/4"]["better"] == "higher"
