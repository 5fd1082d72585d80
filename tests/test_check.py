"""`check` finds every way of breaking the adapter contract, and only those."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from preimage.harness import Generator, ImageSpec, LatentSpace, ModelCard, Prior, StandardNormal, Streams, Uniform
from preimage.harness.check import check_model
from preimage.harness.plugins import Registry, Sources

IMAGE = ImageSpec(1, 4, 4)


class Sound(Generator):
    """A generator that keeps the contract."""

    def __init__(self, prior: Prior | None = StandardNormal(), classes: int = 0) -> None:  # noqa: B008  # it is frozen
        super().__init__()
        self.layer = nn.Linear(5, 16)
        self.spaces = {"z": LatentSpace("z", 5, prior)}
        self.image = IMAGE
        self.num_classes = classes

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        flat = self.layer(code)
        if label is not None:
            flat = flat + label[:, None] / 10
        return torch.sigmoid(flat).reshape(-1, *IMAGE)


def verdicts(make: Callable[[], Generator], classes: int = 0) -> dict[str, str]:
    """What check says of a generator, by rule."""
    torch.manual_seed(0)
    card = ModelCard(name="m", family="f", dataset="d", image=IMAGE, num_classes=classes, load=lambda device: make())
    return {f.rule: f.verdict for f in check_model(card, Registry(Sources(entry_points=False)))}


def broken(make: Callable[[], Generator], classes: int = 0) -> set[str]:
    return {rule for rule, verdict in verdicts(make, classes).items() if verdict == "broken"}


def test_a_sound_generator_breaks_nothing() -> None:
    assert broken(Sound) == set()
    assert broken(lambda: Sound(classes=3), 3) == set()
    assert broken(lambda: Sound(Uniform())) == set()
    assert verdicts(Sound)["labels"] == "skipped"
    assert verdicts(lambda: Sound(classes=3), 3)["labels"] == "held"


def spoilt(change: Callable[[Any, Tensor, Tensor], Tensor]) -> Callable[[], Generator]:
    """A sound generator whose images are changed: ``change(generator, images, code)``."""

    class Spoilt(Sound):
        def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
            return change(self, super().decode(code, label, space=space), code)

    return Spoilt


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("shape and dtype", lambda g, x, z: x[:, :, :3]),
        ("shape and dtype", lambda g, x, z: x.double()),
        ("range", lambda g, x, z: 4 * x - 2),
        ("range", lambda g, x, z: 255 * x),
        ("range", lambda g, x, z: x * torch.nan),
        ("deterministic", lambda g, x, z: x + 0.1 * torch.rand_like(x)),
        ("gradient", lambda g, x, z: x.detach()),
        ("gradient", lambda g, x, z: x.detach() + 0.5 * (x - x.detach())),
        ("independent images", lambda g, x, z: x - x.mean(dim=0) + 0.5),
        ("independent images", lambda g, x, z: x + 1e-2 * (z.sum() - z.sum().detach())),
    ],
)
def test_each_way_of_spoiling_an_image_is_found(rule: str, change: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
    assert rule in broken(spoilt(change))


def test_a_state_that_decode_changes_is_found() -> None:
    class Counting(Sound):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
            self.calls += 1
            return super().decode(code, label, space=space)

    assert "frozen" in broken(Counting)


def test_a_label_without_effect_is_found() -> None:
    class Deaf(Sound):
        def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
            return super().decode(code, None, space=space)

    assert "labels" in broken(lambda: Deaf(classes=3), 3)


class Wrong(StandardNormal):
    """Priors that are not what they say."""

    def __init__(self, how: str) -> None:
        object.__setattr__(self, "how", how)

    def sample(self, streams: Streams, dim: int) -> Tensor:
        code = super().sample(streams, dim)
        return {"wide": 1.2 * code, "off": code + 0.2, "double": code.double()}.get(self.how, code)  # type: ignore[attr-defined]

    def log_prob(self, code: Tensor) -> Tensor:
        density = super().log_prob(code)
        return density * torch.nan if self.how == "density" else density  # type: ignore[attr-defined]

    def project(self, code: Tensor) -> Tensor:
        return 0.5 * code if self.how == "shrinks" else super().project(code)  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["wide", "off", "double", "density", "shrinks"])
def test_a_prior_that_is_not_what_it_says_is_found(how: str) -> None:
    assert "prior" in broken(lambda: Sound(Wrong(how)))


def test_a_native_space_without_a_prior_cannot_be_sampled() -> None:
    assert broken(lambda: Sound(None)) == {"load"}


@pytest.mark.parametrize("how", ["shape", "image"])
def test_a_push_that_does_not_fit_is_found(how: str) -> None:
    class Pushed(Sound):
        def __init__(self) -> None:
            super().__init__()
            self.spaces = {**self.spaces, "w": LatentSpace("w", 5, None)}

        def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
            return super().decode(code if space == "z" else code / 2, label)

        def push(self, code: Tensor, label: Tensor | None = None, *, source: str, target: str) -> Tensor:
            return {"shape": code[:, :3], "image": code}.get(how, 2 * code)

    assert "spaces" in broken(Pushed)
    how = "right"
    assert "spaces" not in broken(Pushed)


@pytest.mark.parametrize("right", [True, False])
def test_an_encoder_gives_codes(right: bool) -> None:
    class Encoding(Sound):
        def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
            flat = image.flatten(1)
            return flat[:, :5] if right else flat

    assert ("encoder" in broken(Encoding)) is not right


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": (3, 4, 4)}, "`image` is 3x4x4"),
        ({"num_classes": 7}, "`num_classes` is 7"),
        ({"space": "w"}, "`space` is 'w'"),
    ],
)
def test_a_card_that_says_otherwise_is_found(change: dict[str, Any], said: str) -> None:
    settings = {"name": "m", "family": "f", "dataset": "d", "image": IMAGE, "num_classes": 0, "load": lambda d: Sound()}
    (finding,) = check_model(ModelCard(**{**settings, **change}), Registry(Sources(entry_points=False)))
    assert finding.verdict == "broken"
    assert said in finding.detail


def test_a_reference_has_nothing_to_check() -> None:
    card = ModelCard(name="m", family="f", dataset="d", image=IMAGE, num_classes=0, kind="reference")
    (finding,) = check_model(card, Registry(Sources(entry_points=False)))
    assert finding.verdict == "skipped"
