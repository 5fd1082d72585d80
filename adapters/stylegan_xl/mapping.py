"""The mapping network: z and the class to w."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from preimage.adapters.stylegan_layers import FullyConnected, nrm
from preimage.adapters.stylegan_xl.settings import MappingSettings


class Embedding(nn.Module):
    """Vectors of classes, [rows, features]: means of an EfficientNet's features of their images, never trained."""

    def __init__(self, rows: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, features), requires_grad=False)


class MappingNetwork(nn.Module):
    """Codes z [n, z_dim] and classes [n] to w [n, w_dim]; ``w_avg`` [c_dim, w_dim] is the average w of each class.

    An unconditional network ([w_dim]) has the embedding as well, and makes no use of it.
    """

    w_avg: Tensor
    classes: Tensor

    def __init__(self, settings: MappingSettings, rows: int, features: int) -> None:
        super().__init__()
        z_dim, c_dim, w_dim = settings.z_dim, settings.c_dim, settings.w_dim
        self.conditional = c_dim > 0
        self.embed = Embedding(rows, features)
        if self.conditional:
            self.embed_proj = FullyConnected(features, z_dim, act="lrelu")
        widths = [z_dim * (1 + self.conditional)] + [w_dim] * settings.num_layers
        self.layers = tuple(
            FullyConnected(widths[i], w_dim, lr=settings.lr_multiplier, act="lrelu") for i in range(settings.num_layers)
        )
        for i, layer in enumerate(self.layers):
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(c_dim, w_dim) if self.conditional else torch.zeros(w_dim))
        self.register_buffer("classes", torch.empty(c_dim, z_dim), persistent=False)

    def fold(self) -> None:
        """Make what each class adds to the input, once the weights are there."""
        if self.conditional:
            self.classes = nrm(self.embed_proj(self.embed.weight[: len(self.classes)]))

    def forward(self, z: Tensor, label: Tensor | None) -> Tensor:
        x = nrm(z)
        if label is not None:
            x = torch.cat([x, self.classes[label]], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    def centre(self, label: Tensor | None) -> Tensor:
        """The average w of each label's class, [n, w_dim], or of all, [w_dim]."""
        return self.w_avg if label is None else self.w_avg[label]
