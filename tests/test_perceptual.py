"""LPIPS and feature distances: against the ``lpips`` package on real images, their embeddings, their gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preimage.harness.backbone_cards import BackboneCard
from preimage.harness.backbones import Backbone
from preimage.harness.cards import ImageSpec
from preimage.harness.convnets import ConvNet
from preimage.harness.distances import Distance, identity_of
from preimage.harness.errors import WeightsError
from preimage.harness.generator import Generator, LatentSpace
from preimage.harness.perceptual import Features, LayerDistance, Lpips, open_features, open_lpips
from preimage.harness.plugins import installed
from preimage.harness.priors import StandardNormal
from preimage.harness.solvers.energy import RecoveryEnergy
from preimage.harness.solvers.metric import measure_metric
from tests.lpips_package import NETS, by_package, clothes, opened, package, photographs, random_weights

ALL = (*NETS, "vgg16-features", "vgg19-features")

Opened = Callable[[str], LayerDistance]


@pytest.fixture(scope="session")
def perceptual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The distance of a name, opened once."""
    kept: dict[str, LayerDistance] = {}
    folder = tmp_path_factory.mktemp("weights")

    def get(name: str) -> LayerDistance:
        if name not in kept:
            kept[name] = opened(name, lambda: request.getfixturevalue("shared"), folder)
        return kept[name]

    return get


def network_of(distance: LayerDistance) -> torch.nn.Module:
    assert isinstance(distance.backbone, ConvNet)
    return distance.backbone.network


def pairs(images: Tensor) -> tuple[Tensor, Tensor]:
    """Different images beside each other."""
    return images, images.roll(1, dims=0)


def resized(images: Tensor, *size: int) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True)


REFERENCES: dict[str, torch.nn.Module] = {}


def reference_of(distance: LayerDistance) -> torch.nn.Module:
    """The package's, made once."""
    if distance.name not in REFERENCES:
        REFERENCES[distance.name] = package(NETS[distance.name], network_of(distance))
    return REFERENCES[distance.name]


def assert_agrees(distance: LayerDistance, x: Tensor, y: Tensor) -> None:
    reference = reference_of(distance)
    ours = distance(x, y)
    if min(x.shape[2:]) < 31 and distance.name == "lpips-alex":  # which the package cannot do
        shorter = min(x.shape[2:])
        size = tuple(round(side * 64 / shorter) for side in x.shape[2:])
        x, y = (functional.interpolate(images, size=size, mode="bilinear", align_corners=False) for images in (x, y))
    theirs = by_package(reference, x, y)
    assert theirs.min() > 0.01
    assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (64, 64), (97, 65), (20, 30)])
@pytest.mark.parametrize("name", NETS)
def test_lpips_is_the_packages_on_grey_images(perceptual: Opened, name: str, size: tuple[int, int]) -> None:
    images = clothes(4)
    assert_agrees(perceptual(name), *pairs(images if size == (28, 28) else resized(images, *size)))


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (97, 65)])
@pytest.mark.parametrize("name", NETS)
def test_lpips_is_the_packages_on_photographs(
    perceptual: Opened, shared: Path, name: str, size: tuple[int, int]
) -> None:
    file = "cifar10_test.npz" if size == (32, 32) else "imagenet_250.npz"
    images = torch.stack([resized(photo[None], *size)[0] for photo in photographs(shared, file, 4)])
    assert_agrees(perceptual(name), *pairs(images))


def test_lpips_is_the_packages_on_unclamped_images(perceptual: Opened) -> None:
    x, y = pairs(3 * resized(clothes(3), 40, 40) - 1)
    assert_agrees(perceptual("lpips-alex"), x, y)


def test_another_weight_is_seen(perceptual: Opened) -> None:
    """The comparison above fails where a single number of the network, or of the heads, is another one."""
    distance, (x, y) = perceptual("lpips-alex"), pairs(resized(clothes(2), 32, 32))
    weights = {f"features.{key}": value.clone() for key, value in network_of(distance).state_dict().items()}
    weights["features.3.weight"][5, 3, 2, 2] += 0.5
    changed = open_lpips("lpips-alex", "alexnet", lambda _: ConvNet("alexnet", "alexnet", weights))
    assert changed.identity != distance.identity
    theirs = by_package(reference_of(distance), x, y)
    assert (changed(x, y) - theirs).abs().max() > 1e-4
    embedded = changed.embed(x) - changed.embed(y)  # type: ignore[operator]  # LPIPS has an embedding
    assert (embedded.square().sum(1) - theirs).abs().max() > 1e-4


def test_the_heads_belong_to_the_identity(perceptual: Opened) -> None:
    distance = perceptual("lpips-alex")
    heads = [torch.full([channels], 0.1) for channels in (64, 192, 384, 256, 256)]
    one = Lpips("lpips-alex", distance.backbone, heads)
    heads[2] = heads[2] * 2
    other = Lpips("lpips-alex", distance.backbone, heads)
    assert len({one.identity, other.identity, distance.identity, Features("x", distance.backbone).identity}) == 4
    heads[0] = -heads[0]
    with pytest.raises(WeightsError, match="'lpips-alex': its heads have negative weights"):
        Lpips("lpips-alex", distance.backbone, heads)


@pytest.mark.parametrize("name", ALL)
def test_a_distance_is_squared_euclidean_in_its_embedding(perceptual: Opened, name: str) -> None:
    distance = perceptual(name)
    assert isinstance(distance, Distance)
    assert (distance.name, distance.squared) == (name, True)
    x, y = pairs(resized(clothes(3), 32, 32))
    ex, ey = distance.embed(x), distance.embed(y)
    assert ex is not None and ey is not None and ex.ndim == 2
    seen = distance(x, y)
    assert seen.shape == (3,)
    torch.testing.assert_close((ex.double() - ey.double()).square().sum(1).float(), seen, rtol=1e-5, atol=0)
    torch.testing.assert_close(distance(y, x), seen, rtol=1e-6, atol=0)
    assert torch.equal(distance(x, x), torch.zeros(3))
    alone = torch.stack([distance(x[i : i + 1], y[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(alone, seen, rtol=1e-5, atol=0)


def test_channels_of_weight_0_are_left_out(perceptual: Opened) -> None:
    distance = perceptual("lpips-alex")
    whole = sum(layer[0].numel() for layer in distance.backbone.layers(clothes(1)))
    embedded = distance.embed(clothes(1))
    assert embedded is not None and embedded.shape[1] < 0.7 * whole


@pytest.mark.parametrize("name", ["vgg16-features", "vgg19-features"])
def test_features_are_means_over_the_last_relu_of_each_block(perceptual: Opened, name: str) -> None:
    distance, (x, y) = perceptual(name), pairs(resized(clothes(2), 32, 32))
    maps: list[list[Tensor]] = []
    for images in (x, y):
        state, found = images.expand(-1, 3, -1, -1) * 2 - 1, []
        state = (state - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
            :, None, None
        ]
        for module in network_of(distance).children():
            if isinstance(module, torch.nn.MaxPool2d):
                found.append(state.clone())
            state = module(state)
        maps.append(found)
    assert len(maps[0]) == 5
    wanted = torch.stack([(a - b).square().mean(dim=(1, 2, 3)) for a, b in zip(*maps, strict=True)]).sum(0)
    torch.testing.assert_close(distance(x, y), wanted, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["lpips-alex", "lpips-squeeze", "vgg19-features"])
@pytest.mark.parametrize("through", ["call", "embed"])
def test_the_gradient_is_that_of_finite_differences(perceptual: Opened, name: str, through: str) -> None:
    """In float64; the images are resized for AlexNet."""
    distance, (x, y) = perceptual(name), pairs(clothes(2).double())
    x = x + 0.01 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)  # off ReLU's kinks
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def value(step: float | Tensor) -> Tensor:
        moved = x + step * direction
        if through == "call":
            return distance(moved, y)
        a, b = distance.embed(moved), distance.embed(y)
        assert a is not None and b is not None
        return (a - b).square().sum(1)

    step = torch.zeros(2, 1, 1, 1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(step).sum(), step)
    h = 1e-7
    torch.testing.assert_close(slope.flatten(), (value(h) - value(-h)) / (2 * h), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_is_finite_where_nothing_varies(perceptual: Opened, name: str) -> None:
    distance = perceptual(name)
    flat = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(-1, 1, 20, 20)
    other = resized(clothes(3), 20, 20)
    for x, y in ((flat, flat), (flat, other), (other, flat), (other, other)):
        leaf = x.clone().requires_grad_()
        value = distance(leaf, y)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        assert torch.isfinite(value).all() and torch.isfinite(gradient).all()


def dead(scale: float) -> Lpips:
    """LPIPS through an AlexNet whose features are all 0 (scale 0 or less), or small."""
    weights = {k: torch.zeros_like(v) for k, v in random_weights("alexnet").items() if k.startswith("features.")}
    for key in weights:
        if scale > 0 or key.endswith("bias"):
            weights[key] += scale
    return open_lpips("lpips-alex", "alexnet", lambda _: ConvNet("alexnet", "alexnet", weights))


@pytest.mark.parametrize("scale", [0.0, -1.0, 1e-12, 1e-22])
def test_features_of_length_0_have_a_finite_gradient(scale: float) -> None:
    distance, images = dead(scale), resized(clothes(2), 32, 32)
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(distance(leaf, images.roll(1, 0)).sum(), leaf)
    assert torch.isfinite(gradient).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own, when it first differentiates forward
        tangent = torch.func.jvp(lambda x: distance.embed(x), (images,), (torch.ones_like(images),))[1]
    assert torch.isfinite(tangent).all()
    if scale <= 0:
        assert not gradient.any() and not tangent.any()


class Wave(Generator):
    """Images 1x20x20 from three numbers; smooth, so that finite differences are exact enough."""

    spaces = {"z": LatentSpace("z", 3, StandardNormal())}  # noqa: RUF012  # as generators write it
    image = ImageSpec(1, 20, 20)
    num_classes = 0

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        grid = torch.linspace(-1, 1, 20, dtype=code.dtype)
        a, b, c = (code[:, i, None, None] for i in range(3))
        return torch.sigmoid(3 * torch.sin(4 * grid[:, None] * a) + 3 * b * grid + c)[:, None]


@pytest.mark.parametrize("name", ["lpips-alex", "lpips-squeeze", "vgg19-features", "squared-l2+0.1*lpips-alex"])
def test_the_metric_takes_forward_products(perceptual: Opened, name: str) -> None:
    """Forward mode under vmap, as the solvers' metric uses it, gives the Jacobian of finite differences."""
    distance: Distance = installed().distance(name) if "+" in name else perceptual(name)
    codes = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    metric = measure_metric(Wave(), distance, codes)
    assert (metric.products, metric.embedded, metric.squared) == ("forward", True, True)
    wave, h = Wave(), 1e-6
    total = torch.zeros(3, 3, dtype=torch.float64)
    for code in codes.double():
        columns = []
        for unit in torch.eye(3, dtype=torch.float64):
            up, down = (distance.embed(wave.decode((code + s * h * unit)[None])) for s in (1, -1))
            assert up is not None and down is not None
            columns.append(((up - down) / (2 * h))[0])
        jacobian = torch.stack(columns)
        total += jacobian @ jacobian.T / len(codes)
    torch.testing.assert_close(metric.matrix, total, rtol=2e-3, atol=1e-4 * float(total.abs().max()))


def test_what_follows_the_images_outlives_a_transform(perceptual: Opened) -> None:
    """The network comes back from float64 while images are differentiated forward, and stays usable."""
    distance, images = perceptual("lpips-alex"), resized(clothes(2), 32, 32)
    before = distance(*pairs(images))
    distance.embed(images.double())
    codes = torch.randn(1, 3, generator=torch.Generator().manual_seed(0))
    assert measure_metric(Wave(), distance, codes).products == "forward"
    distance.embed(images.double())
    with torch.inference_mode():
        distance.embed(images)
    leaf = images.clone().requires_grad_()
    after = distance(*pairs(leaf))
    assert torch.equal(after, before)
    assert torch.isfinite(torch.autograd.grad(after.sum(), leaf)[0]).all()


def test_an_energy_in_lpips_is_the_distance_itself(perceptual: Opened) -> None:
    wave, codes = Wave(), torch.randn(3, 3, generator=torch.Generator().manual_seed(2))
    target = wave.decode(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))
    for name in ("lpips-alex", "squared-l2+0.1*lpips-alex"):
        distance: Distance = installed().distance(name)
        value = RecoveryEnergy(wave, target, distance)(codes)
        torch.testing.assert_close(value.energy, distance(wave.decode(codes), target), rtol=1e-4, atol=1e-7)
        assert torch.isfinite(value.gradient).all() and value.gradient.abs().sum(1).min() > 0


def test_a_weighted_sum_is_the_sum_in_call_embedding_and_identity(perceptual: Opened) -> None:
    alex, plain = perceptual("lpips-alex"), installed().distance("squared-l2")
    both, (x, y) = installed().distance("squared-l2+0.1*lpips-alex"), pairs(clothes(3))
    wanted = plain(x, y) + 0.1 * alex(x, y)
    torch.testing.assert_close(both(x, y), wanted, rtol=1e-5, atol=0)
    ex, ey = both.embed(x), both.embed(y)
    assert ex is not None and ey is not None
    torch.testing.assert_close((ex - ey).square().sum(1), wanted, rtol=1e-5, atol=0)
    other = installed().distance("squared-l2+0.2*lpips-alex")
    assert len({identity_of(both), identity_of(other), identity_of(alex)}) == 3
    assert alex.rule in str(getattr(both, "rule", ""))


def test_a_backbone_of_another_architecture_is_refused(perceptual: Opened) -> None:
    alexnet = perceptual("lpips-alex").backbone

    def backbones(name: str) -> Backbone:
        return alexnet

    for name, opener in (("lpips-vgg", open_lpips), ("vgg16-features", open_features)):
        with pytest.raises(WeightsError, match=f"{name}' looks through vgg16, but the card of backbone 'alexnet' says"):
            opener(name, "vgg16", backbones)


def test_without_the_package_there_are_no_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    from preimage.harness import perceptual

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    perceptual._heads_of.cache_clear()
    card = BackboneCard("alexnet", "alexnet")
    assert card.weights is None
    with pytest.raises(WeightsError, match="pip install lpips"):
        open_lpips("lpips-alex", "alexnet", installed().backbone)
    perceptual._heads_of.cache_clear()
