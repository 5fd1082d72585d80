"""What the StyleGAN generators share: the normalised input and the linear layers of the mapping, and truncation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2  # of the leaky rectifier below zero

# Gain after each activation that the released networks use. Both commute with a positive factor, so a gain may just
# as well be applied before the activation, where it costs nothing.
GAINS: Mapping[str, float] = MappingProxyType({"linear": 1.0, "lrelu": math.sqrt(2)})


def nrm(x: Tensor) -> Tensor:
    """Codes [n, dim] divided by the root of their mean square (plus 1e-8)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class FullyConnected(nn.Module):
    """``act(x (W lr / sqrt(in))^T + b lr) * gain(act)``; W [out, in] and b [out] are stored without these factors.

    The factors ride along in the matrix product: weights stay as they are in the file. x: [n, in], of any strides.
    """

    def __init__(self, in_features: int, out_features: int, *, lr: float = 1.0, act: str = "linear") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_features, in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out_features), requires_grad=False)
        self.act = act
        self.factor = lr * GAINS[act]
        self.gain = self.factor / math.sqrt(max(in_features, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x, self.weight.T, beta=self.factor, alpha=self.gain)
        return functional.leaky_relu(y, SLOPE) if self.act == "lrelu" else y


def truncated(ws: Tensor, centre: Tensor, psi: float, cutoff: int | None) -> Tensor:
    """``centre + psi (w - centre)`` in the first ``cutoff`` layers of ws [n, layers, dim] (None: all), centre [dim] or
    [n, dim]. The others are left as they are."""
    if psi == 1 or cutoff == 0:
        return ws
    middle = centre.unsqueeze(-2)  # over the layers
    if cutoff is None or cutoff >= ws.shape[1]:
        return middle + psi * (ws - middle)
    return torch.cat([middle + psi * (ws[:, :cutoff] - middle), ws[:, cutoff:]], dim=1)
