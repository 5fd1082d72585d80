"""The low-pass filters of StyleGAN3 (Karras et al., NeurIPS 2021, section 3.2 and appendix C.1).

Designed in float64; checkpoints hold them as float32 buffers, which is what is used, once it is known to be the filter
that belongs to the layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import j1
from torch import Tensor

from preimage.adapters.stylegan_xl.layer_table import LayerSpec, SynthesisSpec
from preimage.harness.errors import WeightsError

TOLERANCE = 1e-5  # of a tap; a stored filter differs by rounding, about 1e-8


def up_filter(spec: LayerSpec) -> Tensor | None:
    """The filter [taps] of what comes in, or None where nothing is filtered."""
    if spec.up_taps == 1:
        return None
    return _stored(kaiser_filter(spec.up_taps, spec.in_cutoff, 2 * spec.in_half_width, spec.tmp_sampling_rate))


def down_filter(spec: LayerSpec) -> Tensor | None:
    """The filter [taps], or [taps, taps] if radial, of what goes out, or None where nothing is filtered."""
    if spec.down_taps == 1:
        return None
    design = radial_filter if spec.down_radial else kaiser_filter
    return _stored(design(spec.down_taps, spec.out_cutoff, 2 * spec.out_half_width, spec.tmp_sampling_rate))


def kaiser_filter(taps: int, cutoff: float, width: float, rate: float) -> np.ndarray:
    """A sinc of that cutoff under a Kaiser window whose transition band has that width, [taps], of sum 1."""
    sinc = np.sinc(2 * cutoff / rate * _positions(taps))
    f = sinc * np.kaiser(taps, _kaiser_beta(taps, width, rate))
    return np.asarray(f / f.sum())


def radial_filter(taps: int, cutoff: float, width: float, rate: float) -> np.ndarray:
    """The same about the centre (jinc), [taps, taps], of sum 1; the window is that of both axes."""
    x = _positions(taps) / rate
    r = np.hypot(x[:, None], x[None, :])
    with np.errstate(invalid="ignore"):
        f = np.where(r > 0, j1(2 * np.pi * cutoff * r) / (np.pi * r), cutoff)
    window = np.kaiser(taps, _kaiser_beta(taps, width, rate))
    f = f * np.outer(window, window)
    return np.asarray(f / f.sum())


def _positions(taps: int) -> np.ndarray:
    return np.arange(taps) - (taps - 1) / 2


def _kaiser_beta(taps: int, width: float, rate: float) -> float:
    """Kaiser's formula, from the attenuation that so many taps reach."""
    attenuation = 2.285 * (taps - 1) * np.pi * (width / (rate / 2)) + 7.95
    if attenuation > 50:
        return float(0.1102 * (attenuation - 8.7))
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0


def _stored(f: np.ndarray) -> Tensor:
    return torch.from_numpy(f).float()


def check_filters(state: Mapping[str, Tensor], network: SynthesisSpec) -> None:
    """Raises WeightsError that names the filters of a checkpoint which its layers' cutoffs do not design."""
    strange = []
    for spec in network.layers:
        for name, designed in (("up_filter", up_filter(spec)), ("down_filter", down_filter(spec))):
            if designed is not None:
                apart = float((state[f"{spec.name}.{name}"].double() - designed.double()).abs().max())
                if not apart <= TOLERANCE:
                    strange.append(f"synthesis.{spec.name}.{name} is {apart:.2g} away")
    if strange:
        raise WeightsError(
            f"the filters of the weights are not those that the settings design: {'; '.join(strange)}. Give the "
            "settings that belong to the file"
        )
