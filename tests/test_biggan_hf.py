"""BigGAN-deep of Hugging Face against the official outputs and, elsewhere, against its formula; files, errors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import preimage.adapters.biggan_hf as biggan_hf
from preimage.adapters.biggan_hf.family import BigGANDeep, build, read
from preimage.adapters.biggan_hf.settings import settings_from
from preimage.harness import Streams, TruncatedNormal
from preimage.harness.cards import read_card, read_cards
from preimage.harness.converted import write_converted
from preimage.harness.errors import CardError, GeneratorError, WeightsError

from .gan_formulas import Held, hf_biggan, is_the_formula, random_weights
from .golden_sets import Golden, apart, codes, missing_and_left_over, official, passes_check, same_as_official

CARDS = Path(__file__).resolve().parents[1] / "docs" / "cards"
SET = "hfbiggan-dev"


def test_images_and_gradients_are_the_official_ones(shared: Path) -> None:
    golden = Golden(shared, SET)
    same_as_official(golden, golden.model(), label="labels")
    same_as_official(golden, golden.model(), label="c")


@pytest.mark.parametrize("truncation", [0.4, 0.43, 0.5, 0.58])
def test_truncation_scales_the_code_and_chooses_the_statistics(shared: Path, truncation: float) -> None:
    golden = Golden(shared, SET)
    same_as_official(golden, golden.model(truncation=truncation), image=f"img_trunc{truncation}", label="labels")


def test_classes_may_be_weighted(shared: Path) -> None:
    golden = Golden(shared, SET)
    model, c = golden.model(), golden.io["c_soft"].clone().requires_grad_()
    images = official(model, golden.io["z"], c)
    (gradient,) = torch.autograd.grad((images * golden.io["rand"]).sum(), c)
    assert apart(images, golden.io["img_c_soft"]) < 3e-5
    assert apart(gradient, golden.io["grad_c_soft"]) < 2e-4


def test_the_official_files_are_read(shared: Path, tmp_path: Path) -> None:
    golden, folder = Golden(shared, SET), shared / "golden" / SET / "hf"
    settings, weights = read(folder / "pytorch_model.bin")
    assert settings == golden.config["config"] and weights.keys() == golden.weights.keys()
    model = build({**settings, "truncation": 0.4}, weights)
    assert apart(official(model, golden.io["z"], golden.io["labels"]), golden.io["img_trunc0.4"]) < 3e-5
    alone = tmp_path / "pytorch_model.bin"
    alone.write_bytes((folder / "pytorch_model.bin").read_bytes())
    assert read(alone)[0] == {}, "then the card gives the settings"


TINY: dict[str, Any] = {
    "output_dim": 16,
    "z_dim": 5,
    "class_embed_dim": 5,
    "channel_width": 8,
    "num_classes": 3,
    "layers": [[False, 16, 8], [True, 8, 4], [False, 4, 2], [True, 2, 1]],
    "attention_layer_position": 1,
    "eps": 1e-4,
    "n_stats": 51,
}
OTHERS: list[dict[str, Any]] = [
    TINY,
    TINY | {"n_stats": 5, "attention_layer_position": 0, "eps": 0.1},
    TINY | {"attention_layer_position": 4, "layers": [[True, 16, 8], [True, 8, 4], [True, 4, 2], [False, 2, 1]],
            "output_dim": 32},
]  # fmt: skip


def tiny(said: dict[str, Any]) -> dict[str, Tensor]:
    return random_weights(BigGANDeep(settings_from(said)))


@pytest.mark.parametrize("truncation", [1.0, 0.07, 0.14])
@pytest.mark.parametrize("said", OTHERS, ids=["plain", "few-statistics", "no-attention"])
def test_other_settings_are_the_formula(said: dict[str, Any], truncation: float) -> None:
    weights, label = tiny(said), torch.tensor([2, 0, 1])
    classes = functional.one_hot(label, 3).double()
    is_the_formula(
        build(said | {"truncation": truncation}, weights),
        lambda code: hf_biggan(Held(weights), said, truncation * code, classes, truncation),
        label,
        limits=(5e-5, 5e-4),
    )


@pytest.mark.parametrize(
    ("truncation", "rows"),
    [
        (1.0, [50]),
        (0.02, [1]),
        (0.4, [20]),
        (0.14, [7, 8]),  # the quotient is a little above 7, and the row after it counts
        (0.28, [14, 15]),
        (0.56, [28, 29]),
        (0.58, [28, 29]),  # the quotient is a little below 29, and the row before it counts
        (0.94, [46, 47]),
    ],
)
def test_rows_of_statistics_are_upstreams_also_where_it_rounds(truncation: float, rows: list[int]) -> None:
    chosen = settings_from(TINY | {"truncation": truncation}).rows()
    assert [row for row, _ in chosen] == rows
    if len(rows) == 1:
        assert chosen[0][1] == 1
        return
    nearest = round(truncation * 50)
    heavy = max(chosen, key=lambda one: one[1])
    assert heavy[1] > 1 - 1e-12 and heavy[0] == (nearest + 1 if nearest in (7, 14, 28) else nearest - 1)


def test_between_two_rows_the_weights_are_the_other_way_round() -> None:
    (low, first), (high, second) = settings_from(TINY | {"truncation": 0.435}).rows()
    assert (low, high) == (21, 22)
    assert first == pytest.approx(0.75) and second == pytest.approx(0.25), "0.435 is at three quarters of the way"


def test_codes_are_drawn_from_the_truncated_normal_whatever_the_truncation() -> None:
    weights = tiny(TINY)
    for truncation in (1.0, 0.4):
        model = build(TINY | {"truncation": truncation}, weights)
        assert model.native.prior == TruncatedNormal(2.0)
    drawn = TruncatedNormal(2.0).sample(Streams(list(range(400)), "cpu"), 5)
    assert drawn.abs().max() <= 2 and drawn.abs().max() > 1.8, "the code is not scaled; decoding is"


def test_check_passes() -> None:
    passes_check(lambda: build(TINY | {"truncation": 0.5}, tiny(TINY)))


def test_vectors_may_stand_for_classes() -> None:
    weights, code, label = tiny(TINY), codes(2, 5), torch.tensor([2, 0])
    model = build(TINY, weights)
    assert torch.allclose(
        model.decode(code, weights["embeddings.weight"].T[label]), model.decode(code, label), atol=1e-6
    )


def test_weights_that_do_not_fit_are_listed() -> None:
    missing_and_left_over(lambda weights: build(TINY, weights), tiny(TINY))


def test_singular_vectors_that_give_nothing_are_named() -> None:
    weights = tiny(TINY)
    weights["generator.layers.0.conv_1.weight_u"] = torch.zeros_like(weights["generator.layers.0.conv_1.weight_u"])
    with pytest.raises(WeightsError, match=r"the spectral norm of 'generator\.layers\.0\.conv_1' is 0\.0"):
        build(TINY, weights)


NO_LAYERS = "; list [whether it doubles, channels in, channels out], e.g. [true, 16, 8]"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"truncation": 0}, "`truncation` is 0.0; it must be above 0 and at most 1 (not truncated)"),
        ({"truncation": 1.2}, "`truncation` is 1.2; it must be above 0 and at most 1"),
        ({"eval_mode": False}, "`eval_mode` is false; with batch statistics an image depends on the others"),
        ({"output_dim": 32}, "`output_dim` is 32; the layers make images of 16 pixels"),
        ({"n_stats": 1}, "`n_stats` is 1; it must be a whole number from 2 up"),
        ({"layers": []}, "`layers` has []" + NO_LAYERS),
        ({"layers": [[1, 16, 8]]}, "`layers` has [1, 16, 8]" + NO_LAYERS),
        ({"layers": [[True, 16, 0]]}, "`layers` has [True, 16, 0]" + NO_LAYERS),
        ({"layers": [[True, 8, 4]]}, "`layers[0]` takes 8 times the width, and gets 16"),
        (
            {"layers": [[True, 16, 4]]},
            "`layers[0]` makes 4 of 16 times the width; a block keeps the channels or halves",
        ),
        ({"layers": [[True, 16, 8]]}, "the last of `layers` makes 8 times the width; the way to colours takes 1"),
        ({"channel_width": 2}, "`channel_width` is 2; it must be a whole number from 3 up"),
        ({"truncations": 1}, "unknown setting in `config`: `truncations` (did you mean `truncation`?)"),
    ],
)
def test_settings_that_cannot_be_are_told(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(CardError, match="family 'hf-biggan-deep': ") as caught:
        build(TINY | changed, {})
    assert said in str(caught.value)


def test_a_row_of_statistics_that_there_is_not_is_told() -> None:
    count = next(n for n in range(2, 500) if math.modf(1 / (1 / (n - 1))) > (0, n - 1))
    with pytest.raises(CardError, match=f"`truncation` 1.0 asks for row {count} of statistics, and there are {count}"):
        build(TINY | {"n_stats": count}, {})


def test_settings_that_are_needed_are_told() -> None:
    with pytest.raises(CardError, match="family 'hf-biggan-deep': `config` lacks `z_dim`"):
        build({}, {})


@pytest.mark.parametrize(("text", "said"), [("{", "cannot read the settings"), ("[1]", "are no table, but \\[1\\]")])
def test_settings_that_cannot_be_read_are_told(tmp_path: Path, text: str, said: str) -> None:
    torch.save(tiny(TINY), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=said):
        read(tmp_path / "pytorch_model.bin")


def test_what_is_converted_is_read_with_its_settings(tmp_path: Path) -> None:
    weights = tiny(TINY)
    (tmp_path / "config.json").write_text(json.dumps({"of": "something else"}))
    write_converted(tmp_path / "c.safetensors", "hf-biggan-deep", TINY, weights)
    settings, found = read(tmp_path / "c.safetensors")
    assert settings == TINY and found.keys() == weights.keys()


def test_labels_and_codes_that_cannot_be_are_told() -> None:
    model = build(TINY, tiny(TINY))
    with pytest.raises(GeneratorError, match="this model has 3 classes: give decode a label per code"):
        model.decode(torch.zeros(2, 5))
    with pytest.raises(GeneratorError, match=r"labels are \[3\]; they must be from 0 to 2"):
        model.decode(torch.zeros(1, 5), torch.tensor([3]))
    with pytest.raises(GeneratorError, match=r"codes of space 'z' are \[n, 5\], not \[5\]"):
        model.decode(torch.zeros(5), torch.tensor([1]))


def test_cards_of_released_files_are_of_networks_of_their_size() -> None:
    shipped = Path(biggan_hf.__file__).parent
    cards = [*read_cards(shipped), *(read_card(CARDS / f"biggan-deep-{size}.yaml") for size in (256, 512))]
    sides = []
    for card in cards:
        model = BigGANDeep(settings_from(card.config))
        sides.append(model.image.height)
        assert tuple(card.image) == tuple(model.image) and card.num_classes == model.num_classes == 1000
        assert card.config["eval_mode"] is True and "unverified" in card.tags and card.licence
        if sides[-1] == 128:
            tensors = model.state_dict()
            assert len(tensors) == 506, "as the released file has"
            assert sum(value.numel() for value in tensors.values()) * 4 / 1e6 == pytest.approx(210.7, abs=0.1)
    assert sides == [128, 256, 512]
