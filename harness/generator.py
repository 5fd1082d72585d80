"""The latent interface: what every model looks like to the harness."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from preimage.harness.cards import ImageSpec
from preimage.harness.errors import GeneratorError
from preimage.harness.priors import Prior


class LatentSpace(NamedTuple):
    """A space of flat codes [n, dim]. ``prior`` is None where the model gives no density (e.g. w)."""

    name: str
    dim: int
    prior: Prior | None


class Generator(nn.Module):
    """A model behind the latent interface: in eval mode, frozen, differentiable in the code, images independent.

    A subclass sets ``spaces`` (the first is native), ``image`` and ``num_classes`` (0: unconditional), and writes
    ``decode``. ``encode``, ``push`` and ``log_likelihood`` are optional. Ranges and preprocessing are the subclass's
    own business: outside it, images are float32, [n, c, h, w], nominally in [0, 1].

    A mixture of generators is unconditional and sets ``part_weights``: its parts are numbered as labels are, and a
    row's part stands where its label would, in every method. ``log_likelihood`` without parts is that of the mixture.
    """

    spaces: Mapping[str, LatentSpace]
    image: ImageSpec
    num_classes: int
    part_weights: tuple[float, ...] = ()
    """With which probability a mixture draws from each of its parts; none: it is no mixture."""

    def decode(self, code: Tensor, label: Tensor | None = None, *, space: str = "z") -> Tensor:
        """Codes [n, dim] float32 (and labels [n] int64) to images [n, c, h, w] float32, NOT clamped."""
        raise NotImplementedError(f"{type(self).__name__} does not define decode")

    def encode(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Images [n, c, h, w] to codes [n, dim] of the native space; for models with an encoder."""
        raise GeneratorError(f"{type(self).__name__} has no encoder")

    def push(self, code: Tensor, label: Tensor | None = None, *, source: str, target: str) -> Tensor:
        """Codes of one space carried into another, e.g. z to w."""
        raise GeneratorError(f"{type(self).__name__} cannot push codes from space {source!r} to {target!r}")

    def log_likelihood(self, image: Tensor, label: Tensor | None = None, *, sigma2: float, space: str = "z") -> Tensor:
        """log p(x) of images [n, c, h, w] in closed form, [n] float64 nats; for models that have one.

        The law is that of ``decode(code) + noise``, codes from the prior of ``space``, noise N(0, sigma2) per pixel:
        the exact value of what annealing estimates, so it stands beside the estimate (METHODS 9).
        """
        raise GeneratorError(f"{type(self).__name__} has no likelihood in closed form")

    @property
    def has_encoder(self) -> bool:
        """Whether ``encode`` is defined."""
        return type(self).encode is not Generator.encode

    @property
    def has_log_likelihood(self) -> bool:
        """Whether ``log_likelihood`` is defined."""
        return type(self).log_likelihood is not Generator.log_likelihood

    @property
    def kept_codes(self) -> Tensor:
        """The codes [n, dim] that its first n training images were trained with, in the native space; else [0, dim].

        A model has them as a buffer ``trained_codes``.
        """
        kept = getattr(self, "trained_codes", None)
        return kept if isinstance(kept, Tensor) else torch.empty(0, self.native.dim)

    @property
    def native(self) -> LatentSpace:
        """The space that codes are drawn in."""
        return next(iter(self.spaces.values()))

    def space(self, name: str) -> LatentSpace:
        """The space of that name. Raises GeneratorError that lists the ones there are."""
        if name not in self.spaces:
            raise GeneratorError(f"unknown latent space {name!r}; this model has {', '.join(self.spaces)}")
        return self.spaces[name]


def check_images(images: Tensor, count: int, spec: ImageSpec, what: str) -> Tensor:
    """The images, if they are what ``decode`` promises; finiteness is the caller's affair. Raises GeneratorError."""
    if not isinstance(images, Tensor):
        raise GeneratorError(f"{what}: decode returned {type(images).__name__}, not a tensor of images")
    wanted = (count, *spec)
    if tuple(images.shape) != wanted:
        raise GeneratorError(
            f"{what}: decode returned shape {tuple(images.shape)}; the card says {wanted}. "
            "Correct `image` on the card, or decode"
        )
    if images.dtype != torch.float32:
        raise GeneratorError(
            f"{what}: decode returned {images.dtype}; images are torch.float32: end decode with .float()"
        )
    return images


def prepare(generator: Generator, device: torch.device | str = "cpu") -> Generator:
    """The generator ready to be measured: on the device, frozen, in eval mode, batch norms folded, channels last.

    Done in place, once per model. Folding changes images by rounding only.
    """
    generator = generator.to(device).eval().requires_grad_(False)
    fold_batch_norms(generator)
    for module in generator.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.to(memory_format=torch.channels_last)
    return generator


def fold_batch_norms(module: nn.Module) -> int:
    """Fold every batch norm that directly follows a convolution or linear layer in an ``nn.Sequential``; how many.

    Layers that are shared, hooked or parametrised (e.g. spectral norm) are left as they are.
    """
    uses: dict[int, int] = {}
    for parent in module.modules():
        for child in parent.children():
            uses[id(child)] = uses.get(id(child), 0) + 1

    def foldable(layer: nn.Module) -> bool:
        hooked = bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)
        return uses.get(id(layer)) == 1 and not hooked and not hasattr(layer, "parametrizations") and not layer.training

    folded = 0
    for parent in module.modules():
        if type(parent) is not nn.Sequential:
            continue
        names = list(parent._modules)
        for first, second in pairwise(names):
            layer, norm = parent._modules[first], parent._modules[second]
            if layer is None or norm is None or not (foldable(layer) and foldable(norm)):
                continue
            merged = _fold(layer, norm)
            if merged is not None:
                parent._modules[first] = merged.requires_grad_(False)
                parent._modules[second] = nn.Identity().eval()
                folded += 1
    return folded


def _fold(layer: nn.Module, norm: nn.Module) -> nn.Module | None:
    if getattr(norm, "running_mean", None) is None:
        return None
    if type(layer) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
        return fuse_conv_bn_eval(layer, norm)
    if type(layer) is nn.ConvTranspose2d and type(norm) is nn.BatchNorm2d and layer.groups == 1:
        return fuse_conv_bn_eval(layer, norm, transpose=True)
    if type(layer) is nn.Linear and type(norm) is nn.BatchNorm1d:
        tokens = layer.out_features != norm.num_features  # [n, tokens, features]: the norm is over the tokens
        if tokens or norm.weight is None or norm.bias is None:
            return None
        return fuse_linear_bn_eval(layer, norm)
    return None
