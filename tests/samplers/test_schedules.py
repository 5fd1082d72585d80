"""Temperatures: the published ones, and those that are even in thermodynamic length, once per curvature."""

from __future__ import annotations

import time
from pathlib import Path as Folder

import numpy as np
import torch
from exact_models import numbers

from preimage.harness.samplers.schedules import sigmoid_schedule, spectral_schedule, spectral_schedules


def test_the_sigmoid_schedule_is_the_published_one(shared: Folder) -> None:
    with np.load(shared / "golden" / "bdmc-vae50" / "results.npz") as file:
        np.testing.assert_allclose(sigmoid_schedule(499).numpy(), file["betas_sigmoid_500"], atol=1e-6)


def test_the_spectral_schedule_is_the_reference_one_and_even_in_length(shared: Folder) -> None:
    with np.load(shared / "golden" / "bdmc-vae50" / "results.npz") as file:
        eigenvalues, reference = torch.from_numpy(file["gn_eig"]), file["betas_spectral_2495"]
    schedule = spectral_schedule(2495, eigenvalues)
    np.testing.assert_allclose(schedule.numpy(), reference, atol=2e-4)
    middle, width = (schedule[1:] + schedule[:-1]) / 2, schedule.diff()
    lam = eigenvalues.double().clamp_min(0)
    lengths = width * (0.5 * (lam / (1 + middle.unsqueeze(1) * lam)).square().sum(dim=1)).sqrt()
    torch.testing.assert_close(lengths, lengths.mean().expand_as(lengths), rtol=0.02, atol=0)
    assert (width > 0).all() and schedule[0] == 0 and schedule[-1] == 1
    torch.testing.assert_close(spectral_schedule(4, torch.zeros(3)), torch.linspace(0, 1, 5).double())


def test_images_of_one_curvature_share_a_schedule_and_others_have_their_own() -> None:
    two = numbers(2, 1, 7).square().double() * 100
    found = spectral_schedules(20, two[[1, 0, 1]], 0.1)
    assert found.shape == (21, 3)
    for column, row in zip(found.T, (1, 0, 1), strict=True):
        assert torch.equal(column, spectral_schedule(20, two[row, 0], 0.1))
    assert (found[:, 0] != found[:, 1]).any()
    assert torch.equal(spectral_schedules(20, two[0, 0]), spectral_schedule(20, two[0, 0]))


def test_a_schedule_of_each_of_64_images_is_quick() -> None:
    began = time.process_time()
    spectral_schedules(1250, numbers(64, 1, 128).exp().double() * 1000)
    assert time.process_time() - began < 5
