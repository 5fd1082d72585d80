"""A variational autoencoder, of which the decoder ships.

Kingma and Welling, "Auto-Encoding Variational Bayes" (ICLR 2014), class-conditional as in Sohn, Lee and Yan (NeurIPS
2015), with the observation noise at its maximum-likelihood value in every batch: Rybkin, Daniilidis and Levine,
"Simple and Effective VAE Training with Calibrated Decoders" (ICML 2021), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from preimage.adapters.embedded.gan import Sampler
from preimage.adapters.embedded.networks import Decoder, DecoderConfig, Encoder, drawn
from preimage.adapters.embedded.recipe import Images, Recipe, Report, parse_settings


@dataclass(frozen=True)
class VaeSettings:
    """The settings of a card's ``training: settings:``."""

    lr: float = 2e-3  # Adam; falls to 0 as a half cosine
    freeze_after: float = 0.5  # share of the steps before batch statistics are frozen: it ends with what ships


def negative_elbo(image: Tensor, decoded: Tensor, mean: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
    """Mean negative evidence bound per image in nats, up to a constant, and the mean squared error.

    image, decoded: [n, c, h, w]; mean, log_var: of the code's posterior, [n, dim].
    ``D/2 log(mse) + KL(N(mean, var) || N(0, I))``: the Gaussian likelihood at the noise that maximises it.
    """
    mse = (decoded - image).square().mean()
    divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(dim=1).mean()
    return 0.5 * image[0].numel() * mse.log() + divergence, mse


def train_vae(recipe: Recipe, config: DecoderConfig, images: Images, report: Report) -> Decoder:
    """The decoder after ``recipe.steps`` updates of the evidence bound, in eval mode."""
    settings = parse_settings(VaeSettings, recipe.settings)
    random = torch.Generator().manual_seed(recipe.seed)
    sampler = Sampler(config, images, random)
    decoder = drawn(lambda: Decoder(config), random).train()
    encoder = drawn(lambda: Encoder(2 * config.dim, config.num_classes), random).train()
    adam = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], settings.lr)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, recipe.steps)
    for step in range(recipe.last):
        if step == int(settings.freeze_after * recipe.steps):
            decoder.eval()
            encoder.eval()
        image, known = sampler.batch(recipe.batch)
        label = known if config.num_classes else None
        mean, log_var = encoder(image, label).chunk(2, dim=1)
        code = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=random)
        loss, mse = negative_elbo(image, decoder(code, label), mean, log_var)
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        decay.step()
        report(step + 1, {"bound": loss.item(), "mse": mse.item()})
    return decoder.eval()
