"""GAN_stability's generators against official outputs and, at other settings, their formula; files, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from preimage.adapters.mesch import family
from preimage.adapters.mesch.family import network_from, read
from preimage.harness import Generator, ModelCard
from preimage.harness.cards import read_cards
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import prepare

from .golden_sets import Golden, apart, codes, drawn, missing_and_left_over, official, passes_check, same_as_official

CARDS = [
    card
    for card in read_cards(Path(__file__).resolve().parents[1] / "docs" / "cards")
    if card.family.startswith("mesch-")
]
TINY: dict[str, dict[str, Any]] = {
    "resnet": {"z_dim": 5, "nlabels": 3, "size": 16, "embed_size": 4, "nfilter": 2, "nfilter_max": 6},
    "resnet2": {"z_dim": 5, "nlabels": 3, "size": 32, "embed_size": 4, "nfilter": 1},
    "resnet3": {"z_dim": 5, "nlabels": 3, "size": 64, "embed_size": 4, "nfilter": 1},
    "resnet4": {"z_dim": 5, "nlabels": 3, "size": 64, "embed_size": 4, "nfilter": 1},
}

Row = tuple[str, int, int, bool]
"""A block's official name, its channels before and after, whether nearest-neighbour doubling follows it."""


def rows(variant: str, said: dict[str, Any]) -> tuple[int, list[Row]]:
    """The side of the first image and the blocks, written out from the specification."""
    nf, size = said["nfilter"], said["size"]
    if variant == "resnet":
        most, n = said.get("nfilter_max", 512), 0
        while 4 << (n + 1) <= size:
            n += 1
        found: list[Row] = [
            (f"resnet.{2 * i}", min(nf * 2 ** (n - i), most), min(nf * 2 ** (n - i - 1), most), True) for i in range(n)
        ]
        return 4, [*found, (f"resnet.{2 * n}", nf, nf, False)]
    if variant == "resnet2":
        found = []
        before = 16
        for stage, after in enumerate([16, 16, 8, 4, 2, 1]):
            found.append((f"resnet_{stage}_0", before * nf, after * nf, False))
            found.append((f"resnet_{stage}_1", after * nf, after * nf, stage < 5))
            before = after
        return size // 32, found
    first = 32 if variant == "resnet3" else 16
    pairs = [(first, 16), (16, 16), (16, 8), (8, 4), (4, 2), (2, 1)]
    found = [(f"resnet_{stage}_0", a * nf, b * nf, True) for stage, (a, b) in enumerate(pairs)]
    return size // 64, found if variant == "resnet3" else [*found, ("resnet_6_0", nf, nf, False)]


def random_weights(variant: str, said: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Under the names and with the shapes of the specification."""
    side, blocks = rows(variant, said)
    width = said["z_dim"] + said["embed_size"]
    kernel = 7 if variant in ("resnet3", "resnet4") else 3
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (said["nlabels"], said["embed_size"]),
        "fc.weight": (blocks[0][1] * side**2, width),
        "fc.bias": (blocks[0][1] * side**2,),
        "conv_img.weight": (3, said["nfilter"], kernel, kernel),
        "conv_img.bias": (3,),
    }
    for name, before, after, _ in blocks:
        hidden = min(before, after)
        shapes |= {f"{name}.conv_0.weight": (hidden, before, 3, 3), f"{name}.conv_0.bias": (hidden,)}
        shapes |= {f"{name}.conv_1.weight": (after, hidden, 3, 3), f"{name}.conv_1.bias": (after,)}
        if before != after:
            shapes[f"{name}.conv_s.weight"] = (after, before, 1, 1)
    weights = drawn(shapes, seed)
    return {name: 3 * value if ".conv_1" in name else value for name, value in weights.items()}  # taken 0.1 times


def transcribed(variant: str, code: Tensor, e: Tensor, weights: dict[str, Tensor], said: dict[str, Any]) -> Tensor:
    """The formula in float64, as it is written."""
    held = {name: value.double() for name, value in weights.items()}

    def conv(name: str, x: Tensor) -> Tensor:
        kernel = held[f"{name}.weight"]
        return functional.conv2d(x, kernel, held.get(f"{name}.bias"), padding=kernel.shape[-1] // 2)

    def lrelu(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    side, blocks = rows(variant, said)
    e = e.double()
    if variant in ("resnet", "resnet2"):
        e = e / e.square().sum(dim=1, keepdim=True).sqrt()
    x = torch.cat([code.double(), e], dim=1) @ held["fc.weight"].T + held["fc.bias"]
    x = x.reshape(len(code), -1, side, side)
    for name, before, after, doubled in blocks:
        straight = conv(f"{name}.conv_s", x) if before != after else x
        x = straight + 0.1 * conv(f"{name}.conv_1", lrelu(conv(f"{name}.conv_0", lrelu(x))))
        if doubled:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return conv("conv_img", lrelu(x)).tanh()


def made(variant: str, said: dict[str, Any] | None = None, weights: dict[str, Tensor] | None = None) -> Generator:
    said = TINY[variant] if said is None else said
    return family.build(f"mesch-{variant}", said, random_weights(variant, said) if weights is None else weights)


@pytest.mark.parametrize("name", ["mesch-resnet", "mesch-resnet2", "mesch-resnet3"])
def test_images_and_gradients_are_the_official_ones(shared: Path, name: str) -> None:
    golden = Golden(shared, name)
    model = golden.model()
    same_as_official(golden, model, label="labels")
    if "img_y_embed" in golden.io:
        same_as_official(golden, model, image="img_y_embed", label="y_embed")
    if golden.config["init_kwargs"]["nlabels"] == 1:
        assert model.num_classes == 0, "of one class alone"
        same_as_official(golden, model)


def test_the_official_checkpoint_holds_the_average_under_parallel_names(shared: Path) -> None:
    golden = Golden(shared, "mesch-resnet")
    settings, weights = read(shared / "golden" / "mesch-resnet" / "model_official_layout.pt")
    assert settings == {} and weights.keys() == golden.weights.keys()
    model = family.build_resnet(golden.config, weights)
    assert apart(official(model, golden.io["z"]), golden.io["img"]) < 3e-5


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("resnet", {}),
        ("resnet", {"size": 4}),
        ("resnet", {"size": 64, "nfilter": 3, "nfilter_max": 7, "nlabels": 1, "embed_size": 1}),
        ("resnet", {"size": 24}),
        ("resnet2", {}),
        ("resnet2", {"size": 64, "nlabels": 1, "embed_size": 2}),
        ("resnet3", {}),
        ("resnet3", {"size": 128, "nlabels": 1, "embed_size": 1}),
        ("resnet4", {}),
        ("resnet4", {"size": 128, "nlabels": 1, "embed_size": 3}),
        ("resnet4", {"nfilter": 2}),
    ],
)
def test_it_is_its_formula_at_other_settings(variant: str, changes: dict[str, Any]) -> None:
    said = TINY[variant] | changes
    weights, code = random_weights(variant, said), codes(3, 5)
    label = torch.arange(3) % said["nlabels"]
    model = getattr(family, f"build_{variant}")(said, weights)
    wanted = transcribed(variant, code, weights["embedding.weight"][label], weights, said)
    assert tuple(model.image) == tuple(wanted.shape[1:])
    assert apart(official(model, code, label).double(), wanted) < 2e-5, "with as few channels as one"
    assert apart(official(prepare(model), code, label).double(), wanted) < 2e-5


@pytest.mark.parametrize("variant", TINY)
def test_float_labels_are_embeddings_or_weights_of_classes(variant: str) -> None:
    weights, code = random_weights(variant, TINY[variant]), codes(2, 5)
    own, shares = codes(2, 4, seed=7), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    model = made(variant)
    for label, e in ((own, own), (shares, shares @ weights["embedding.weight"])):
        wanted = transcribed(variant, code, e, weights, TINY[variant])
        assert apart(official(model, code, label).double(), wanted) < 1e-5
    one_hot = functional.one_hot(torch.tensor([2, 0]), 3).float()
    torch.testing.assert_close(model.decode(code, one_hot), model.decode(code, torch.tensor([2, 0])))
    equal = TINY[variant] | {"embed_size": 3}  # as official code has it where either could be meant: an embedding
    wanted = transcribed(variant, code, shares, random_weights(variant, equal), equal)
    assert apart(official(made(variant, equal), code, shares).double(), wanted) < 1e-5


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (None, r"this model has 3 classes: give decode a label per code, \[n\] int64"),
        (torch.tensor([0, 3]), r"labels are \[0, 3\]; they must be from 0 to 2"),
        (torch.tensor([0]), r"labels are \[2\] int64, weights of the classes \[2, 3\] float32, or class vectors"),
        (torch.zeros(2, 5), r"class vectors \[2, 4\] float32; not \[2, 5\] torch.float32"),
    ],
)
def test_labels_that_cannot_be_are_told(label: Tensor | None, said: str) -> None:
    with pytest.raises(GeneratorError, match=said):
        made("resnet").decode(codes(2, 5), label)


@pytest.mark.parametrize("variant", TINY)
def test_check_passes(variant: str) -> None:
    passes_check(lambda: made(variant))
    passes_check(lambda: made(variant, TINY[variant] | {"nlabels": 1, "embed_size": 1}))


def test_other_files(tmp_path: Path) -> None:
    right, other = (random_weights("resnet", TINY["resnet"], seed) for seed in (0, 1))
    held = {
        "bare": right,
        "parallel": {f"module.{name}": value for name, value in right.items()},
        "no_average": {"it": 3, "generator": right, "discriminator": other},
        "average": {"generator": other, "generator_test": right},
    }
    for name, table in held.items():
        torch.save(table, tmp_path / f"{name}.pt")
        weights = read(tmp_path / f"{name}.pt")[1]
        assert weights.keys() == right.keys() and all(torch.equal(weights[key], right[key]) for key in right), name
    write_converted(tmp_path / "c.safetensors", "mesch-resnet", TINY["resnet"], right)
    assert read(tmp_path / "c.safetensors")[0] == TINY["resnet"]
    torch.save({"it": 3, "discriminator": other}, tmp_path / "d.pt")
    with pytest.raises(WeightsError, match="holds a table of it, discriminator; no generator is in it"):
        read(tmp_path / "d.pt")


@pytest.mark.parametrize("variant", TINY)
def test_weights_that_do_not_fit_are_listed(variant: str) -> None:
    missing_and_left_over(lambda weights: made(variant, weights=dict(weights)), random_weights(variant, TINY[variant]))


@pytest.mark.parametrize(
    ("variant", "changes", "said"),
    [
        ("resnet", {"size": 3}, "`size` is 3; it must be a whole number from 4 up"),
        ("resnet2", {"size": 16}, "`size` is 16; it must be a whole number from 32 up"),
        ("resnet3", {"size": 32}, "`size` is 32; it must be a whole number from 64 up"),
        ("resnet4", {"size": 32}, "`size` is 32; it must be a whole number from 64 up"),
        ("resnet", {"nfilter": 7}, "`nfilter` is 7, more than `nfilter_max`, 6"),
        ("resnet2", {"nfilter_max": 7}, "unknown setting in `config`: `nfilter_max`"),
        ("resnet4", {"nlabels": 0}, "`nlabels` is 0; it must be a whole number from 1 up"),
    ],
)
def test_settings_that_cannot_be_are_told(variant: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CardError, match=f"family 'mesch-{variant}': ") as caught:
        made(variant, TINY[variant] | changes, random_weights(variant, TINY[variant]))
    assert said in str(caught.value)


def test_settings_that_are_needed_are_told() -> None:
    with pytest.raises(CardError, match="family 'mesch-resnet': `config` lacks `size`"):
        family.build_resnet({}, {})


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_of_released_files_are_of_what_they_say(card: ModelCard) -> None:
    assert len(CARDS) == 4
    with torch.device("meta"):
        network, dim = network_from(card.family, card.config)
    assert dim == 256 and tuple(card.image) == (3, network.plan.final_side, network.plan.final_side)
    classes = network.embedding.num_embeddings
    assert card.num_classes == (classes if classes > 1 else 0)
    assert card.weights is not None and str(card.training["file"]).endswith(Path(card.weights.uri).name)
    assert card.weights.uri.endswith(f"-{card.training['sha256_begins']}.pt") and "unverified" in card.tags
