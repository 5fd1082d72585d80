"""A decoder that regresses training images on fixed codes, so that it memorises them.

Bojanowski et al., "Optimizing the Latent Space of Generative Networks" (ICML 2018), in the variant of Webster et
al. (CVPR 2019): the codes are set once and never optimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from preimage.adapters.embedded.networks import Decoder, DecoderConfig, drawn
from preimage.adapters.embedded.recipe import Images, Recipe, Report, parse_settings
from preimage.harness.errors import CardError


@dataclass(frozen=True)
class GloSettings:
    """The settings of a card's ``training: settings:``."""

    lr: float = 2e-3  # Adam; falls to 0 as a half cosine
    freeze_after: float = 0.5  # share of the steps before batch statistics are frozen: it ends with what ships
    codes: str = "gaussian"  # drawn from the prior; or "pca": the images' own whitened principal components


def train_glo(recipe: Recipe, config: DecoderConfig, images: Images, report: Report) -> Decoder:
    """The decoder after ``recipe.steps`` updates of the squared error, in eval mode."""
    settings = parse_settings(GloSettings, recipe.settings)
    random = torch.Generator().manual_seed(recipe.seed)
    codes = fixed_codes(settings.codes, images.image, config.dim, random)
    labels = images.label if config.num_classes else None
    decoder = drawn(lambda: Decoder(config), random).train()
    adam = torch.optim.Adam(decoder.parameters(), settings.lr)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, recipe.steps)
    for step in range(recipe.last):
        if step == int(settings.freeze_after * recipe.steps):
            decoder.eval()
        chosen = torch.randperm(len(codes), generator=random)[: recipe.batch]
        image = decoder(codes[chosen], None if labels is None else labels[chosen])
        loss = (image - images.image[chosen]).square().mean()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        decay.step()
        report(step + 1, {"mse": loss.item()})
    return decoder.eval()


def fixed_codes(kind: str, image: Tensor, dim: int, random: torch.Generator) -> Tensor:
    """The codes of training images, [n, dim]: both kinds proposed by Bojanowski et al., section 3.

    ``pca``: the first ``dim`` principal components of the pixels, each of unit variance, so N(0, I) matches their first
    two moments. Raises CardError for another kind, or for fewer images than components.
    """
    if kind == "gaussian":
        return torch.randn(len(image), dim, generator=random)
    if kind != "pca":
        raise CardError(f"no codes are called {kind!r}: gaussian or pca")
    pixels = image.flatten(1).double()
    if len(pixels) <= dim:
        raise CardError(f"{len(pixels)} training images have fewer than {dim} principal components: codes: gaussian")
    _, _, axes = torch.linalg.svd(pixels - pixels.mean(dim=0), full_matrices=False)
    scores = (pixels - pixels.mean(dim=0)) @ axes[:dim].T
    codes: Tensor = scores / scores.square().mean(dim=0).sqrt()
    return codes.float()
