"""Operators phi against independent computations: fields, shifts, pooling, noise; and recovery under them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import Refused, UnknownName, UsageError
from preimage.harness.operators import (
    OPERATORS,
    Identity,
    Mask,
    Noise,
    Operator,
    Patches,
    Pooling,
    Translation,
    Warp,
    on_generated,
    operator_named,
    warped,
)
from preimage.harness.options import RecoveryOptions, described, options_from, plain_options
from preimage.harness.plugins import Registry, Sources
from preimage.harness.streams import Streams, seed_of
from preimage.harness.world import World
from tests.plugin_files import small_world
from tests.test_run import preimage
from tests.test_truth import least_squares, measured, pixels

IMAGES = torch.from_numpy(np.random.default_rng(0).random((6, 3, 28, 28)).astype(np.float32))
RANDOM = (Warp(), Noise(), Patches())
SHARED = (Mask(), Pooling())


def streams(count: int, seed: int = 0) -> Streams:
    return Streams([seed_of(seed, "operator", i) for i in range(count)])


@pytest.mark.parametrize(
    "operator", [Identity(), Warp(sigma=0), Noise(sigma=0), Translation(0, 0), Mask(0), Pooling(1)]
)
def test_an_operator_of_no_strength_changes_nothing(operator: Operator) -> None:
    torch.testing.assert_close(operator(IMAGES, streams(6)), IMAGES, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("down", "right"), [(2, 3), (-1, 4), (0, -5)])
def test_a_translation_is_scipys_shift_and_a_constant_warp(down: int, right: int) -> None:
    moved = Translation(down, right)(IMAGES, streams(6))
    exact = ndimage.shift(IMAGES.numpy(), (0, 0, down, right), order=0, mode="nearest")
    np.testing.assert_array_equal(moved.numpy(), exact)
    field = torch.tensor([-float(down), -float(right)]).reshape(1, 2, 1, 1).expand(6, 2, 28, 28)
    torch.testing.assert_close(warped(IMAGES, field), moved, atol=2e-5, rtol=0)


def test_a_warp_interpolates_bilinearly_along_its_field_as_scipy_does() -> None:
    field = Warp().field(streams(6), 28, 28)
    grid = np.indices((28, 28))
    for image, moves, found in zip(IMAGES, field.double().numpy(), warped(IMAGES, field), strict=True):
        for channel in range(3):
            exact = ndimage.map_coordinates(image[channel].numpy(), grid + moves, order=1, mode="nearest")
            np.testing.assert_allclose(found[channel].numpy(), exact, atol=2e-4)


def test_a_field_is_noise_smoothed_by_a_gaussian() -> None:
    """The field equals scipy's Gaussian filter of the same noise, away from its border."""
    warp = Warp(sigma=3.0, smoothness=2.0)
    noise = 3.0 * streams(2).normal(2, 40 + 16, 40 + 16).double().numpy()
    exact = ndimage.gaussian_filter(noise, (0, 0, 2.0, 2.0), truncate=4.0)[:, :, 8:-8, 8:-8]
    np.testing.assert_allclose(warp.field(streams(2), 40, 40).numpy(), exact, atol=1e-5)


def test_a_field_has_the_variance_and_the_correlation_of_smoothed_white_noise() -> None:
    """Variance sigma^2 / (4 pi s^2) everywhere, edges too; correlation exp(-lag^2 / (4 s^2))."""
    sigma, s = 20.0, 4.0
    field = Warp(sigma, s).field(streams(1500), 28, 28).double().numpy()
    expected = sigma**2 / (4 * np.pi * s**2)
    assert field.mean() == pytest.approx(0, abs=0.02)
    for place in (field[:, :, 0, 0], field[:, :, 14, 14], field[:, 0, 27, 5]):
        assert place.var() == pytest.approx(expected, rel=0.12)
    across = (field[:, :, 14, 10] * field[:, :, 14, 14]).mean() / expected
    assert across == pytest.approx(np.exp(-(4**2) / (4 * s**2)), abs=0.08)
    assert (field[:, 0] * field[:, 1]).mean() == pytest.approx(0, abs=0.05)


def test_noise_has_its_standard_deviation_and_is_not_clamped() -> None:
    added = Noise(sigma=0.3)(IMAGES, streams(6)) - IMAGES
    assert float(added.std()) == pytest.approx(0.3, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.01)
    assert float((IMAGES + added).min()) < 0


def test_patches_are_whole_squares_of_noise() -> None:
    """With one patch, exactly a square of 5 x 5 pixels has changed, everywhere in the image in turn."""
    images = torch.zeros(400, 1, 12, 12)
    changed = (Patches(count=1, side=5, mean=7.0, sigma=1.0)(images, streams(400)) != 0)[:, 0]
    assert (changed.sum(dim=(1, 2)) == 25).all()
    rows, columns = changed.any(dim=2), changed.any(dim=1)
    assert (rows.sum(dim=1) == 5).all() and (columns.sum(dim=1) == 5).all()
    first = rows.int().argmax(dim=1)
    assert set(first.tolist()) == set(range(8))
    noise = Patches(count=1, side=12, mean=7.0, sigma=2.0)(images, streams(400))
    assert float(noise.mean()) == pytest.approx(7.0, abs=0.05) and float(noise.std()) == pytest.approx(2.0, rel=0.02)
    several = Patches(count=3, side=5, mean=7.0)(images, streams(400)) != 0
    assert 25 < float(several.sum(dim=(1, 2, 3)).float().mean()) < 75


def test_a_mask_hides_the_middle() -> None:
    seen = Mask(0.5)(torch.ones(1, 1, 8, 12), streams(1))[0, 0]
    assert (seen[2:6, 3:9] == 0).all()
    assert float(seen.sum()) == 8 * 12 - 4 * 6


def test_pooling_is_torchs_average_pooling() -> None:
    torch.testing.assert_close(Pooling(4)(IMAGES, streams(6)), torch.nn.functional.avg_pool2d(IMAGES, 4))


@pytest.mark.parametrize("operator", RANDOM)
def test_a_draw_belongs_to_its_image(operator: Operator) -> None:
    """In another block, order or company an image is changed in the same way; another seed changes it otherwise."""
    whole = operator(IMAGES, streams(6))
    order = [4, 1, 5]
    some = operator(IMAGES[order], Streams([seed_of(0, "operator", i) for i in order]))
    torch.testing.assert_close(some, whole[order], atol=1e-6, rtol=0)
    assert not torch.equal(operator(IMAGES, streams(6, seed=1)), whole)
    assert not torch.equal(whole[0] - IMAGES[0], whole[1] - IMAGES[1])


@pytest.mark.parametrize("operator", SHARED)
def test_gradients_pass_through_what_acts_on_both_sides(operator: Operator) -> None:
    images = IMAGES[:1, :1, :4, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(on_generated(operator), (images,))


def test_only_mask_and_pooling_act_on_generated_images() -> None:
    for kind in OPERATORS.values():
        assert kind.both_sides == (kind in (Mask, Pooling))
        done = on_generated(kind())(IMAGES)
        assert kind.both_sides != (done.shape == IMAGES.shape and bool(torch.equal(done, IMAGES)))


@pytest.mark.parametrize(
    ("operator", "said"),
    [
        (Pooling(5), "pooling by 5 does not divide images of 1x28x28"),
        (Patches(side=29), "a patch of 29 pixels a side does not fit"),
        (Translation(0, -28), "leaves nothing of an image of 1x28x28"),
    ],
)
def test_images_that_an_operator_cannot_take_are_refused(operator: Operator, said: str) -> None:
    operator.check(ImageSpec(1, 30, 30))
    with pytest.raises(Refused, match=said):
        operator.check(ImageSpec(1, 28, 28))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Warp(sigma=-1.0), "`sigma` of the operator 'warp' is -1.0"),
        (lambda: Warp(smoothness=-1.0), "`smoothness` of the operator 'warp' is -1.0"),
        (lambda: Noise(sigma=-0.1), "`sigma` of the operator 'noise' is -0.1"),
        (lambda: Patches(count=0), "`count` of the operator 'patches' is 0; it must be at least 1"),
        (lambda: Mask(share=1.0), "`share` of the operator 'mask' is 1.0; it must be from 0 to below 1"),
        (lambda: Pooling(factor=0), "`factor` of the operator 'pooling' is 0; it must be at least 1"),
    ],
)
def test_impossible_settings_are_told(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()


def test_an_operator_is_chosen_and_set_like_a_solver() -> None:
    solvers = Registry().choices

    def read(settings: dict[str, Any]) -> RecoveryOptions:
        return options_from(RecoveryOptions, settings, solvers, source="here")

    assert read({}).operator == Identity()
    wanted = RecoveryOptions(operator=Warp(sigma=3.0))
    assert read({"operator": "warp", "operator.sigma": 3}) == wanted
    assert read({"operator": {"name": "warp", "sigma": 3.0}}) == wanted
    assert read(plain_options(wanted)) == wanted
    with pytest.raises(UnknownName, match="Did you mean 'warp'"):
        read({"operator": "warb"})
    with pytest.raises(UsageError, match=r"operator 'pooling' has no setting 'factr'. Did you mean 'factor'"):
        read({"operator": "pooling", "operator.factr": 2})
    with pytest.raises(UsageError, match=r"option 'operator.factor' is 'x'; it must be a whole number"):
        read({"operator": "pooling", "operator.factor": "x"})
    with pytest.raises(UsageError, match="those that have: operator, solver"):
        read({"limit.x": 1})


def test_every_operator_says_what_it_and_its_settings_are() -> None:
    for name, kind in OPERATORS.items():
        assert operator_named(name) is kind and kind.__doc__
        assert all(meaning for _, _, meaning in described(kind))


def applied(operator: Operator, flat: Any) -> Any:
    """phi of images [n, 64] of 8 x 8 pixels, by NumPy alone."""
    images = flat.reshape(-1, 8, 8)
    if isinstance(operator, Mask):
        seen = np.ones((8, 8))
        seen[2:6, 2:6] = 0
        return (images * seen).reshape(len(images), -1)
    assert isinstance(operator, Pooling)
    side, factor = 8 // operator.factor, operator.factor
    return images.reshape(-1, side, factor, side, factor).mean(axis=(2, 4)).reshape(len(images), -1)


@pytest.mark.parametrize("distance", ["squared-l2", "l2"])
@pytest.mark.parametrize("operator", [Mask(), Pooling(2), Pooling(4)])
def test_recovery_under_both_sided_operators_is_least_squares_in_their_images(
    tmp_path: Path, operator: Operator, distance: str
) -> None:
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    command = ["run", "-b", "recovery", "-m", "linear", "-m", "near", "--plugin", str(plugin), "--db", str(database)]
    chosen = json.dumps(plain_options(operator) | {"name": operator.name})
    more = ["--set", f"operator={chosen}", "--set", f"distance={distance}", "--workers", "1", "--limit", "24"]
    assert preimage(*command, *more) == 0
    world = World(Registry(Sources(plugins=(str(plugin),))))
    generator: Any = world.generator("linear")
    weight, offset = generator.w.double().numpy(), generator.b.double().numpy()
    targets = applied(operator, pixels(world.registry, "squares", "test", 24))
    exact = least_squares(applied(operator, weight.T).T, applied(operator, offset[None])[0], targets)
    if operator == Pooling(4):  # four values and six numbers of code: all of them are met
        assert exact.max() < 1e-20
    rows, scores = measured(database, "linear", "recovery", "test")
    np.testing.assert_allclose(rows["mse"], exact, rtol=2e-3, atol=1e-9)
    suffix = f"{'' if distance == 'squared-l2' else '/l2'}/{operator.name}"
    assert scores[f"mse{suffix}"] == pytest.approx(exact.mean(), rel=2e-3, abs=1e-9)
    assert scores[f"floor_mse{suffix}"] < 1e-8
    train = applied(operator, pixels(world.registry, "squares", "train", 96))
    apart = ((targets[:, None] - train) ** 2).mean(axis=2)
    rows, _ = measured(database, "near", "recovery", "test")
    np.testing.assert_allclose(rows["mse"], apart.min(axis=1), rtol=1e-5)
    assert (rows["neighbour"] == apart.argmin(axis=1)).all()


def test_a_changed_target_is_recovered_as_least_squares_of_it(tmp_path: Path) -> None:
    """Block by block the noise is the image's own; own samples are recovered as they are."""
    plugin, database = small_world(tmp_path), tmp_path / "a.db"
    command = ["run", "-b", "recovery", "-m", "linear", "-m", "near", "--plugin", str(plugin), "--db", str(database)]
    more = ["--set", "operator=noise", "--set", "operator.sigma=0.4", "--set", "block=16", "--seed", "5"]
    assert preimage(*command, *more, "--workers", "1", "--limit", "24") == 0
    world = World(Registry(Sources(plugins=(str(plugin),))))
    generator: Any = world.generator("linear")
    noise = np.stack(
        [np.random.default_rng(seed_of(5, "operator", i)).standard_normal(64, np.float32) for i in range(24)]
    )
    targets = pixels(world.registry, "squares", "test", 24) + 0.4 * noise
    rows, scores = measured(database, "linear", "recovery", "test")
    exact = least_squares(generator.w.double().numpy(), generator.b.double().numpy(), targets)
    np.testing.assert_allclose(rows["mse"], exact, rtol=1e-3)
    assert scores["floor_mse/noise"] < 1e-8
    train = pixels(world.registry, "squares", "train", 96)
    rows, _ = measured(database, "near", "recovery", "test")
    np.testing.assert_allclose(rows["mse"], ((targets[:, None] - train) ** 2).mean(axis=2).min(axis=1), rtol=1e-5)


def test_the_metric_is_shared_unless_generated_images_are_operated(tmp_path: Path) -> None:
    from preimage.harness.asking import recovery_of_split

    plugin = small_world(tmp_path)
    world = World(Registry(Sources(plugins=(str(plugin),))))
    model, data = world.model("linear"), world.data("squares")

    def metric(operator: Operator) -> Any:
        request: Any = recovery_of_split(model, data, "test", RecoveryOptions(operator=operator)).request
        return request.metric

    for operator in (Noise(), Warp(), Translation(), Patches(side=3)):
        assert metric(operator) == metric(Identity())
    for shared in SHARED:
        assert metric(shared) != metric(Identity())
        assert metric(shared) == metric(dataclasses.replace(shared))
    block = metric(Pooling()).measure(0, world)
    generator: Any = world.generator("linear")
    pooled = applied(Pooling(), generator.w.double().numpy().T).T
    found = np.frombuffer(block.code[0], "<f8").reshape(6, 6)
    np.testing.assert_allclose(found, pooled.T @ pooled / 4, rtol=1e-4, atol=1e-9)


def test_an_encoder_that_would_see_operated_images_is_not_asked(tmp_path: Path, capsys: Any) -> None:
    from tests.test_recovery_paths import WORLD

    plugin = tmp_path / "world.py"
    plugin.write_text(WORLD)
    command = ["run", "-b", "recovery", "-m", "encoded", "--plugin", str(plugin), "--workers", "1"]
    for name, ends in (("mask", {"CONVERGED", "STALLED", "EXACT", "BUDGET_SPENT"}), ("noise", {"ENCODED"})):
        database = tmp_path / f"{name}.db"
        assert preimage(*command, "--set", f"operator={name}", "--db", str(database)) == 0
        rows, _ = measured(database, "encoded", "recovery", "test")
        assert set(rows.outcome) <= ends
    more = ["--set", "operator=mask", "--set", "solver=encoder", "--db", str(tmp_path / "c.db")]
    assert preimage(*command, *more) == 1
    assert "its encoder sees no whole images under 'mask'" in " ".join(capsys.readouterr().out.split())
