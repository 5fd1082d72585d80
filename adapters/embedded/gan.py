"""Adversarial training of a decoder, unconditional or class-conditional.

Goodfellow et al., "Generative Adversarial Nets" (2014), in the form of Miyato et al., "Spectral Normalization for
Generative Adversarial Networks" (ICLR 2018), or with the critic's gradient penalty of Gulrajani et al., "Improved
Training of Wasserstein GANs" (NeurIPS 2017). What ships is the moving average of the weights (Yazici et al., ICLR
2019) with the batch statistics taken anew under it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from preimage.adapters.embedded.networks import Critic, Decoder, DecoderConfig, initialise
from preimage.adapters.embedded.recipe import Images, Recipe, Report, parse_settings
from preimage.harness.errors import CardError

SETTLE_BATCHES = 64  # batches of prior draws that the final batch statistics are averaged over
SETTLE_SIZE = 128


@dataclass(frozen=True)
class GanSettings:
    """The adversarial settings of a card's ``training: settings:``."""

    loss: str = "non-saturating"  # or "hinge", or "wasserstein": a critic without spectral norm, with a penalty
    lr: float = 8e-4  # Adam, decoder; falls linearly to 0 over the second half
    lr_critic: float = 8e-4  # Adam, critic; likewise
    beta1: float = 0.5
    beta2: float = 0.99
    average: float = 0.998  # decay per step of the decoder's moving average
    critic_steps: int = 1  # updates of the critic for one of the decoder
    penalty: float = 0.0  # weight of (|gradient of the critic| - 1)^2 between training images and samples


def critic_loss(loss: str, real: Tensor, fake: Tensor) -> Tensor:
    """What the critic minimises, from its scores [n] of training images and of samples."""
    if loss == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    if loss == "non-saturating":
        return softplus(-real).mean() + softplus(fake).mean()
    if loss == "wasserstein":
        return fake.mean() - real.mean()
    raise CardError(f"no adversarial loss is called {loss!r}: hinge or non-saturating or wasserstein")


def decoder_loss(loss: str, fake: Tensor) -> Tensor:
    """What the decoder minimises, from the critic's scores [n] of its samples."""
    return softplus(-fake).mean() if loss == "non-saturating" else -fake.mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, label: Tensor | None, mix: Tensor) -> Tensor:
    """How far the critic's slope is from 1 at points between: mean of ``(|grad| - 1)^2`` (Gulrajani et al., eq. 3).

    real, fake: images [n, c, h, w]; mix: where between them each point lies, [n] in [0, 1].
    """
    share = mix.view(-1, 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, label).sum(), between, create_graph=True)
    excess: Tensor = slope.flatten(1).norm(dim=1) - 1
    return excess.square().mean()


class Sampler:
    """Prior draws and shuffled training batches, from one random stream."""

    def __init__(self, config: DecoderConfig, images: Images, random: torch.Generator) -> None:
        self.config, self.images, self.random = config, images, random
        self.order = torch.empty(0, dtype=torch.int64)

    def codes(self, n: int) -> tuple[Tensor, Tensor | None]:
        """n draws of the prior [n, dim], with uniform labels where there are classes."""
        code = torch.randn(n, self.config.dim, generator=self.random)
        classes = self.config.num_classes
        return code, torch.randint(classes, (n,), generator=self.random) if classes else None

    def batch(self, n: int) -> tuple[Tensor, Tensor]:
        """The next n training images and labels; every image once before any comes again."""
        while len(self.order) < n:
            shuffled = torch.randperm(len(self.images.image), generator=self.random)
            self.order = torch.cat([self.order, shuffled])
        chosen, self.order = self.order[:n], self.order[n:]
        return self.images.image[chosen], self.images.label[chosen]


def train_gan(recipe: Recipe, config: DecoderConfig, images: Images, report: Report) -> Decoder:
    """The averaged decoder after ``recipe.steps`` alternating updates, in eval mode."""
    settings = parse_settings(GanSettings, recipe.settings)
    sampler = Sampler(config, images, torch.Generator().manual_seed(recipe.seed))
    decoder, critic = adversaries(config, recipe.seed, normalised=settings.loss != "wasserstein")
    averaged = copy.deepcopy(decoder)
    betas = (settings.beta1, settings.beta2)
    adam = torch.optim.Adam(decoder.parameters(), settings.lr, betas)
    adam_critic = torch.optim.Adam(critic.parameters(), settings.lr_critic, betas)
    for step in range(recipe.last):
        for optimiser, lr in ((adam, settings.lr), (adam_critic, settings.lr_critic)):
            optimiser.param_groups[0]["lr"] = lr * min(1.0, 2 * (1 - step / recipe.steps))

        for _ in range(settings.critic_steps):
            loss_critic = _judged(settings, critic, decoder, sampler, recipe.batch)
            adam_critic.zero_grad()
            torch.autograd.backward(loss_critic)
            adam_critic.step()

        code, label = sampler.codes(recipe.batch)
        critic.requires_grad_(False)
        loss = decoder_loss(settings.loss, critic(decoder(code, label), label))
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        critic.requires_grad_(True)

        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), decoder.parameters(), strict=True):
                mean.lerp_(value, 1 - settings.average)
        report(step + 1, {"critic": loss_critic.item(), "decoder": loss.item()})
    return settle(averaged, sampler)


def settle(decoder: Decoder, sampler: Sampler) -> Decoder:
    """The decoder in eval mode, its batch statistics averaged anew over draws of the prior."""
    norms = [layer for layer in decoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over the batches that follow
    decoder.train()
    with torch.no_grad():
        for _ in range(SETTLE_BATCHES):
            decoder(*sampler.codes(SETTLE_SIZE))
    return decoder.eval()


def _judged(settings: GanSettings, critic: Critic, decoder: Decoder, sampler: Sampler, batch: int) -> Tensor:
    """The critic's loss on the next training images and as many samples."""
    real, real_label = sampler.batch(batch)
    code, label = sampler.codes(batch)
    with torch.no_grad():
        fake = decoder(code, label)
    real_score, fake_score = scores(critic, (real, real_label), (fake, label))
    loss = critic_loss(settings.loss, real_score, fake_score)
    if settings.penalty:
        mix = torch.rand(batch, generator=sampler.random)
        loss = loss + settings.penalty * gradient_penalty(critic, real, fake, label, mix)
    return loss


def scores(critic: Critic, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor]:
    """Scores of both halves in one pass (the critic has no batch norm, so they do not touch)."""
    label = torch.cat([real[1], fake[1]]) if fake[1] is not None else None
    score = critic(torch.cat([real[0], fake[0]]), label)
    return score[: len(real[0])], score[len(real[0]) :]


def adversaries(config: DecoderConfig, seed: int, *, normalised: bool = True) -> tuple[Decoder, Critic]:
    """Decoder and critic, drawn from the seed; the global random state is as it was afterwards.

    Spectral normalisation starts its power iteration from the global generator, hence the fork.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder, critic = Decoder(config), Critic(config.num_classes, normalised=normalised)
    initialise(decoder, torch.Generator().manual_seed(seed))
    return decoder.train(), critic.train()
