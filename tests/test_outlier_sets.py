"""The data sets that need no download: single colours, noise, scikit-learn's digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits

from preimage.adapters.outlier_sets.drawn import Drawn, constant, uniform_noise
from preimage.harness import Dataset, ImageSpec
from preimage.harness.cards import DatasetCard
from preimage.harness.datasets import check_pixels
from preimage.harness.errors import DatasetError
from preimage.harness.plugins import installed

NAMES = ("constant", "uniform-noise", "digits")


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_opens(name: str) -> None:
    card = installed().datasets[name]
    assert isinstance(card, DatasetCard)
    data = card.open()
    assert isinstance(data, Dataset)
    assert (data.name, data.image, data.num_classes) == (card.name, card.image, card.num_classes)
    assert tuple(data.splits) == card.splits
    assert card.licence and card.description
    images, labels = data.read("test", range(20))
    check_pixels(images, data.image, name)
    assert labels.dtype == torch.int64
    assert labels.max() < max(1, data.num_classes)


@pytest.mark.parametrize("make", [constant, uniform_noise])
def test_any_block_gives_the_same_bytes(make: type[Drawn]) -> None:
    together = make().read("test", range(40))[0]
    for index in (0, 7, 39):
        assert torch.equal(make().read("test", [index])[0][0], together[index])
    assert torch.equal(make().read("test", [9, 3, 9])[0], together[[9, 3, 9]])
    assert len({image.numpy().tobytes() for image in together}) == 40
    assert make().read("test", [])[0].shape == (0, 3, 32, 32)


def test_a_single_colour_is_one_value_per_channel_the_same_in_every_size() -> None:
    images = constant().read("test", range(400))[0]
    colours = images[:, :, 0, 0]
    assert torch.equal(images, colours[:, :, None, None].expand_as(images))
    larger = installed().dataset("constant@3x64x48")
    assert torch.equal(larger.read("test", range(400))[0][:, :, 63, 47], colours)
    grey = installed().dataset("constant@1x28x28").read("test", range(400))[0]
    assert tuple(grey.shape) == (400, 1, 28, 28)
    for values in (*colours.T, grey[:, 0, 0, 0]):
        assert stats.kstest(values.numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(colours.T.numpy()) - np.eye(3)).max() < 0.2


def test_noise_is_uniform_per_pixel_in_the_shape_asked_for() -> None:
    data = installed().dataset("uniform-noise@1x28x28")
    images = data.read("test", range(20))[0]
    assert stats.kstest(images.flatten().numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(images[:, 0, :, :-1].flatten(), images[:, 0, :, 1:].flatten())[0, 1]) < 0.05
    assert images.var() == pytest.approx(1 / 12, rel=0.05)  # resized noise has less


def test_fingerprints_tell_kind_shape_and_version_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = [constant(), uniform_noise(), constant().at(ImageSpec(1, 8, 8)), uniform_noise().at(ImageSpec(1, 8, 8))]
    assert len({data.fingerprint("test") for data in sets}) == 4
    assert constant().fingerprint("test") == constant().fingerprint("val")
    before, images = constant().fingerprint("test"), constant().read("test", [0])[0]
    monkeypatch.setattr(Drawn, "version", 2)
    assert constant().fingerprint("test") != before
    assert not torch.equal(constant().read("test", [0])[0], images)


def test_sizes_and_limits() -> None:
    assert constant().size("test") == uniform_noise().size("val") == 10_000
    with pytest.raises(DatasetError, match="image 10000 asked, it has 10000"):
        constant().read("test", [10_000])
    with pytest.raises(DatasetError, match="'constant' has no split 'train'; it has test"):
        constant().size("train")
    assert constant().at(ImageSpec(1, 28, 28)).name == "constant@1x28x28"
    assert constant().at(ImageSpec(3, 32, 32)).name == "constant"


def test_the_digits_are_scikit_learns() -> None:
    data, theirs = installed().dataset("digits"), load_digits()
    assert (data.size("train"), data.size("test")) == (797, 1000)
    train, test = data.read("train", range(797)), data.read("test", range(1000))
    images, labels = torch.cat([train[0], test[0]]), torch.cat([train[1], test[1]])
    assert np.array_equal(images[:, 0].numpy() * 16, theirs.images)
    assert np.array_equal(labels.numpy(), theirs.target)
