"""The adapter contract, tested on a model: what every measurement takes for granted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from preimage.harness.cards import ModelCard
from preimage.harness.errors import GeneratorError
from preimage.harness.generator import Generator, LatentSpace, check_images
from preimage.harness.likelihood_by_draws import against_draws
from preimage.harness.loading import is_classifier, load
from preimage.harness.measurements.draws import draw
from preimage.harness.plugins import Registry
from preimage.harness.priors import StandardNormal, TruncatedNormal, Uniform
from preimage.harness.streams import Streams, seed_of

COUNT = 8
DRAWS = 4096


@dataclass(frozen=True)
class Finding:
    """What became of a rule of the contract, with the value seen."""

    rule: str
    verdict: Literal["held", "broken", "skipped"]
    detail: str


class Broken(Exception):
    """A rule does not hold; the message says what was seen."""


class Skipped(Exception):
    """A rule does not apply here; the message says why."""


@dataclass(frozen=True)
class Subject:
    """A loaded generator with codes [n, dim] and labels [n] (a mixture's parts; None: neither) to test it on."""

    card: ModelCard
    generator: Generator
    code: Tensor
    label: Tensor | None
    reload: Callable[[str], Generator]

    @property
    def space(self) -> LatentSpace:
        """The native space."""
        return self.generator.native

    def decode(self, code: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Images of the codes and labels, the subject's own where not given."""
        code = self.code if code is None else code
        label = self.label if label is None else label
        return self.generator.decode(code, None if label is None else label[: len(code)], space=self.space.name)


def check_model(card: ModelCard, registry: Registry, device: str = "cpu") -> Iterator[Finding]:
    """Test every rule on a model. A model that cannot be loaded has one finding, which says why."""
    if is_classifier(card, registry):
        from preimage.harness.check_classifier import check_classifier

        yield from check_classifier(card, registry, device)
        return
    if card.kind == "reference":
        yield Finding("load", "skipped", "a reference has no generator; neighbours answer for it")
        return
    try:
        generator = load(card, registry, device)
        streams = Streams([seed_of("check", i) for i in range(COUNT)], device)
        kinds = generator.num_classes or len(generator.part_weights)
        label = torch.arange(COUNT, device=device) % kinds if kinds else None
        subject = Subject(
            card, generator, draw(generator, streams, label), label, lambda where: load(card, registry, where)
        )
    except Exception as error:  # a stranger's adapter may raise anything
        yield Finding("load", "broken", f"{type(error).__name__}: {error}")
        return
    yield Finding(
        "load",
        "held",
        f"{generator.image}, {generator.num_classes or 'no'} classes, "
        f"{f'a mixture of {len(generator.part_weights)} parts, ' if generator.part_weights else ''}"
        f"spaces {', '.join(f'{s.name} ({s.dim})' for s in generator.spaces.values())}",
    )
    for name, rule in RULES.items():
        try:
            yield Finding(name, "held", rule(subject))
        except Broken as error:
            yield Finding(name, "broken", str(error))
        except Skipped as error:
            yield Finding(name, "skipped", str(error))
        except Exception as error:  # as above
            yield Finding(name, "broken", f"{type(error).__name__}: {error}")


def _shape(subject: Subject) -> str:
    for count in (1, 3, COUNT):
        with torch.no_grad():
            images = subject.decode(subject.code[:count])
        try:
            check_images(images, count, subject.card.image, subject.card.name)
        except GeneratorError as error:
            raise Broken(str(error)) from error
    return f"[n, {subject.card.image.channels}, {subject.card.image.height}, {subject.card.image.width}] float32"


def _range(subject: Subject) -> str:
    with torch.no_grad():
        images = subject.decode()
    if not bool(torch.isfinite(images).all()):
        raise Broken("some pixels are not finite")
    low, high = float(images.min()), float(images.max())
    below, above = (float(share.float().mean()) for share in (images < -0.25, images > 1.25))
    seen = f"pixels range over [{low:.3g}, {high:.3g}]; {below:.1%} below -0.25, {above:.1%} above 1.25"
    if below > 0.25 or above > 0.25:
        advice = "map [-1, 1] by (x + 1) / 2" if below > above else "divide levels by 255"
        raise Broken(f"{seen}; images are nominally in [0, 1]: in decode, {advice}")
    return seen


def _deterministic(subject: Subject) -> str:
    with torch.no_grad():
        torch.manual_seed(0)
        first = subject.decode()
        torch.manual_seed(1)
        second = subject.decode()
    if not torch.equal(first, second):
        apart = float((first - second).abs().max())
        raise Broken(f"the same codes gave images {apart:.3g} apart: no noise and no dropout may be left in decode")
    return "the same codes give the same bytes"


def _frozen(subject: Subject) -> str:
    training = [name or "the generator" for name, module in subject.generator.named_modules() if module.training]
    if training:
        raise Broken(f"in training mode: {', '.join(training[:3])}")
    before = {name: tensor.clone() for name, tensor in subject.generator.state_dict().items()}
    with torch.no_grad():
        subject.decode()
    changed = [name for name, tensor in subject.generator.state_dict().items() if not torch.equal(tensor, before[name])]
    if changed:
        raise Broken(f"decode changes its own state: {', '.join(changed[:3])}")
    return "in eval mode; decode leaves its state as it was"


def _gradient(subject: Subject) -> str:
    """The directional derivative by autograd against central differences; the best of several widths, for kinks."""
    streams = Streams([seed_of("check-direction", i) for i in range(COUNT)], subject.code.device)
    direction = torch.nn.functional.normalize(streams.normal(subject.code.shape[1]), dim=1)
    weights = streams.normal(*subject.card.image)
    code = subject.code.clone().requires_grad_()
    total = (subject.decode(code) * weights).flatten(1).sum(dim=1)
    if not total.requires_grad:
        raise Broken(
            "images do not depend on codes in autograd: decode must not detach, and must not run under no_grad"
        )
    (gradient,) = torch.autograd.grad(total.sum(), code)
    if not bool(torch.isfinite(gradient).all()):
        raise Broken("the gradient is not finite")
    exact = (gradient * direction).double().sum(dim=1)
    best = torch.full_like(exact, torch.inf)
    scale = exact.abs().mean() + 1e-6 * total.detach().double().abs().mean() + 1e-12
    for width in (3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3):
        with torch.no_grad():
            up, down = (
                ((subject.decode(subject.code + sign * width * direction) * weights).double().flatten(1).sum(dim=1))
                for sign in (1, -1)
            )
        best = torch.minimum(best, ((up - down) / (2 * width) - exact).abs() / scale)
    worst = float(best.median())
    if worst > 0.05:
        raise Broken(f"autograd and finite differences disagree by {worst:.1%} of the slope in the median")
    return f"autograd agrees with finite differences to {worst:.2%} of the slope (median of {COUNT})"


def _independent(subject: Subject) -> str:
    with torch.no_grad():
        together = subject.decode()
        alone = torch.cat(
            [
                subject.decode(subject.code[i : i + 1], None if subject.label is None else subject.label[i : i + 1])
                for i in range(COUNT)
            ]
        )
    apart = float((together - alone).abs().max())
    if not apart <= 1e-3:
        raise Broken(
            f"an image changes by {apart:.3g} with the others of its batch: use eval mode, no batch statistics"
        )
    code = subject.code.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(subject.decode(code)[0].square().sum(), code)
    leak = float(gradient[1:].abs().max())
    if leak > 1e-5 * max(1.0, float(gradient[0].abs().max())):
        raise Broken(f"the gradient of one image reaches the code of another ({leak:.3g})")
    return f"an image is the same alone and in a batch, to {apart:.1g}"


def _prior(subject: Subject) -> str:
    prior, dim = subject.space.prior, subject.space.dim
    if prior is None:
        raise Broken(f"the native space {subject.space.name!r} has no prior: nothing can be sampled")
    streams = Streams([seed_of("check-prior", i) for i in range(DRAWS)], subject.code.device)
    code = prior.sample(streams, dim)
    if tuple(code.shape) != (DRAWS, dim) or code.dtype != torch.float32:
        raise Broken(f"samples are {tuple(code.shape)} {code.dtype}, not {(DRAWS, dim)} torch.float32")
    density = prior.log_prob(code)
    if tuple(density.shape) != (DRAWS,) or not bool(torch.isfinite(density).all()):
        raise Broken(
            f"log_prob of samples has shape {tuple(density.shape)} and {int((~torch.isfinite(density)).sum())} values "
            "that are not finite"
        )
    projected = prior.project(code)
    if not torch.allclose(prior.project(projected), projected, atol=1e-5):
        raise Broken("project(project(z)) is not project(z)")
    moved = float(((projected - code).norm(dim=1) > 1e-4 * code.norm(dim=1)).float().mean())
    if moved > 0.05 and prior.plausible_draws:
        raise Broken(f"project moves {moved:.1%} of the prior's own samples; at most 5 % may be implausible")
    return _moments(subject, code) + f"; {moved:.1%} of samples outside the plausible set"


def _moments(subject: Subject, code: Tensor) -> str:
    """Mean and variance over all entries, against the law's own where that is known, within five standard errors."""
    prior = subject.space.prior
    mean, variance = float(code.double().mean()), float(code.double().var())
    seen = f"mean {mean:.3f}, variance {variance:.3f}"
    if isinstance(prior, StandardNormal):
        wanted = (0.0, 1.0)
    elif isinstance(prior, Uniform):
        wanted = ((prior.low + prior.high) / 2, (prior.high - prior.low) ** 2 / 12)
    elif isinstance(prior, TruncatedNormal):
        from scipy.stats import truncnorm

        law = truncnorm(-prior.bound, prior.bound)
        wanted = (0.0, float(law.var()))
    else:
        return seen
    error = 5 * (max(wanted[1], 1e-12) / code.numel()) ** 0.5
    if abs(mean - wanted[0]) > error or abs(variance - wanted[1]) > 2 * error * max(1.0, wanted[1] ** 0.5):
        raise Broken(f"samples have {seen}; {type(prior).__name__} has mean {wanted[0]:.3f}, variance {wanted[1]:.3f}")
    return seen


def _labels(subject: Subject) -> str:
    if subject.label is None:
        raise Skipped("unconditional")
    same = subject.code[:1].expand(2, -1)
    parts, classes = len(subject.generator.part_weights), subject.generator.num_classes
    if parts == 1:
        raise Broken("a mixture of 1 part: set no `part_weights`")
    if not parts and classes < 2:
        raise Broken(f"conditional on {classes} class: write num_classes 0 for an unconditional model")
    what, last = ("part", parts - 1) if parts else ("label", classes - 1)
    with torch.no_grad():
        images = subject.generator.decode(same, torch.tensor([0, last], device=same.device), space=subject.space.name)
    apart = float((images[0] - images[1]).abs().max())
    if apart < 1e-4:
        raise Broken(f"the {what} has no effect on the image")
    return f"{what}s 0 and {last} of one code differ by up to {apart:.2g}"


def _spaces(subject: Subject) -> str:
    said = []
    for space in list(subject.generator.spaces.values())[1:]:
        with torch.no_grad():
            code = subject.generator.push(subject.code, subject.label, source=subject.space.name, target=space.name)
            if tuple(code.shape) != (COUNT, space.dim):
                raise Broken(f"push to {space.name!r} gave {tuple(code.shape)}, its codes are {(COUNT, space.dim)}")
            images = subject.generator.decode(code, subject.label, space=space.name)
            apart = float((images - subject.decode()).abs().max())
        if not apart <= 1e-3:
            raise Broken(f"decode after push to {space.name!r} is {apart:.3g} away from decode")
        said.append(f"{subject.space.name} -> {space.name} to {apart:.1g}")
    if not said:
        raise Skipped("one space only")
    return "the same image from every space: " + ", ".join(said)


def _encoder(subject: Subject) -> str:
    if not subject.generator.has_encoder:
        raise Skipped("no encoder")
    with torch.no_grad():
        code = subject.generator.encode(subject.decode(), subject.label)
    if tuple(code.shape) != tuple(subject.code.shape) or not bool(torch.isfinite(code).all()):
        raise Broken(f"encode gave {tuple(code.shape)}; codes are {tuple(subject.code.shape)} and finite")
    return f"codes of {subject.space.name}, finite"


def _likelihood(subject: Subject) -> str:
    if not subject.generator.has_log_likelihood:
        raise Skipped("no likelihood in closed form")
    images = subject.decode()
    with torch.no_grad():
        told = subject.generator.log_likelihood(images, subject.label, sigma2=0.01, space=subject.space.name)
    if tuple(told.shape) != (COUNT,) or told.dtype != torch.float64 or not bool(torch.isfinite(told).all()):
        raise Broken(f"log_likelihood gave {tuple(told.shape)} {told.dtype}; it must be {(COUNT,)} float64, and finite")
    closed, average, error = against_draws(subject.generator, COUNT, DRAWS)
    apart = (closed - average).abs()
    if bool((apart > 5 * error).any()):
        worst = int((apart / error).argmax())
        raise Broken(
            f"log_likelihood is {float(closed[worst]):.3f} where {DRAWS} prior draws average to "
            f"{float(average[worst]):.3f} +- {float(error[worst]):.3f}: it must be the law of decode(code) + noise of "
            "variance sigma2 per pixel"
        )
    return f"as {DRAWS} prior draws average, to {float(apart.max()):.2g} nats"


def _devices(subject: Subject) -> str:
    if not torch.cuda.is_available():
        raise Skipped("no accelerator on this machine")
    with torch.no_grad():
        there = subject.reload("cuda")
        images = there.decode(
            subject.code.cuda(), None if subject.label is None else subject.label.cuda(), space=subject.space.name
        ).cpu()
        apart = float((images - subject.decode().cpu()).abs().max())
    if not apart <= 1e-2:
        raise Broken(f"images on cuda are {apart:.3g} away from those on the CPU")
    return f"cuda agrees with the CPU to {apart:.1g}"


RULES: dict[str, Callable[[Subject], str]] = {
    "shape and dtype": _shape,
    "range": _range,
    "deterministic": _deterministic,
    "frozen": _frozen,
    "gradient": _gradient,
    "independent images": _independent,
    "prior": _prior,
    "labels": _labels,
    "spaces": _spaces,
    "encoder": _encoder,
    "likelihood": _likelihood,
    "devices": _devices,
}
