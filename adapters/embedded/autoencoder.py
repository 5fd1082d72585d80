"""Encoder and decoder trained to give training images back, alone or against a critic.

AE-N and AEGAN-N of Webster et al. (CVPR 2019, section 3.1, eq. 3): the squared error of the image that comes back,
and for AEGAN the adversarial loss of the decoder's samples beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from preimage.adapters.embedded.gan import Sampler, adversaries, critic_loss, decoder_loss, scores
from preimage.adapters.embedded.networks import AutoEncoder, Critic, DecoderConfig, drawn
from preimage.adapters.embedded.recipe import Images, Recipe, Report, parse_settings


@dataclass(frozen=True)
class AutoEncoderSettings:
    """The settings of a card's ``training: settings:``; those of the critic matter where ``adversarial`` is above 0."""

    lr: float = 2e-3  # Adam, encoder and decoder; falls to 0 as a half cosine
    lr_critic: float = 8e-4  # Adam, critic; likewise
    freeze_after: float = 0.5  # share of the steps before batch statistics are frozen: it ends with what ships
    adversarial: float = 0.0  # weight of the decoder's adversarial loss (non-saturating), beside the squared error
    beta1: float = 0.5
    beta2: float = 0.99


def train_autoencoder(recipe: Recipe, config: DecoderConfig, images: Images, report: Report) -> AutoEncoder:
    """Encoder and decoder after ``recipe.steps`` updates, in eval mode."""
    settings = parse_settings(AutoEncoderSettings, recipe.settings)
    random = torch.Generator().manual_seed(recipe.seed)
    sampler = Sampler(config, images, random)
    model = drawn(lambda: AutoEncoder(config), random).train()
    critic = adversaries(config, recipe.seed)[1]
    adam = torch.optim.Adam(model.parameters(), settings.lr, (settings.beta1, settings.beta2))
    adam_critic = torch.optim.Adam(critic.parameters(), settings.lr_critic, (settings.beta1, settings.beta2))
    trained = (adam, adam_critic) if settings.adversarial else (adam,)
    decays = [torch.optim.lr_scheduler.CosineAnnealingLR(one, recipe.steps) for one in trained]
    for step in range(recipe.last):
        if step == int(settings.freeze_after * recipe.steps):
            model.eval()
        losses: dict[str, float] = {}
        if settings.adversarial:
            losses["critic"] = _update_critic(critic, adam_critic, model, sampler, recipe.batch)
        image, known = sampler.batch(recipe.batch)
        label = known if config.num_classes else None
        error = (model.decoder(model.encode(image, label), label) - image).square().mean()
        losses["mse"] = error.item()
        loss = error
        if settings.adversarial:
            critic.requires_grad_(False)
            code, drawn_label = sampler.codes(recipe.batch)
            fooled = decoder_loss("non-saturating", critic(model.decoder(code, drawn_label), drawn_label))
            losses["decoder"] = fooled.item()
            loss = error + settings.adversarial * fooled
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        critic.requires_grad_(True)
        for decay in decays:
            decay.step()
        report(step + 1, losses)
    return model.eval()


def _update_critic(
    critic: Critic, adam: torch.optim.Optimizer, model: AutoEncoder, sampler: Sampler, batch: int
) -> float:
    """One step of the critic on the next training images and as many samples; its loss."""
    real, real_label = sampler.batch(batch)
    code, label = sampler.codes(batch)
    with torch.no_grad():
        fake: Tensor = model.decoder(code, label)
    loss = critic_loss("non-saturating", *scores(critic, (real, real_label), (fake, label)))
    adam.zero_grad()
    torch.autograd.backward(loss)
    adam.step()
    return loss.item()
