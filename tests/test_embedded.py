"""The models that ship: their cards, their weights, what they were trained on, and the script that retrains them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from preimage.adapters import closed_form, embedded
from preimage.adapters.closed_form import family as closed_family
from preimage.adapters.closed_form.fit import fit_ppca, training_pixels
from preimage.adapters.embedded import family, gan, train
from preimage.adapters.embedded.gan import critic_loss, decoder_loss
from preimage.adapters.embedded.glo import fixed_codes
from preimage.adapters.embedded.networks import Critic, Decoder, DecoderConfig
from preimage.adapters.embedded.recipe import Recipe, parse_settings, read_recipe
from preimage.adapters.embedded.recipe import read_card as read_plain_card
from preimage.adapters.embedded.vae import negative_elbo
from preimage.adapters.fashion_mnist.arrays import read_split
from preimage.harness.cards import Family, ModelCard, read_cards
from preimage.harness.errors import CardError, GeneratorError, WeightsError
from preimage.harness.generator import Generator, prepare

ZOO = Path(embedded.__file__).parent
CLOSED = Path(closed_form.__file__).parent
CARDS = {card.name: (card, folder) for folder in (ZOO, CLOSED) for card in read_cards(folder)}
TRAINED = [name for name, (card, _) in CARDS.items() if card.family.startswith("embedded-")]
AUTOENCODERS = [name for name, (card, _) in CARDS.items() if card.family == "embedded-autoencoder"]
CHECKPOINTS = [name for name, (card, _) in CARDS.items() if card.parent == "fashion-dcgan"]
WITH_WEIGHTS = [name for name, (card, _) in CARDS.items() if card.weights is not None]
TINY = {"dim": 8, "channels": [4, 4, 4], "num_classes": 0, "embedding": 3}


def families() -> dict[str, Family]:
    found: list[Family] = []
    embedded.register_families(found.append)
    closed_form.register_families(found.append)
    return {one.name: one for one in found}


def weights_path(name: str) -> Path:
    return CARDS[name][1] / f"{name}.safetensors"


def load(name: str) -> Generator:
    card = CARDS[name][0]
    one = families()[card.family]
    config, weights = one.read(weights_path(name))
    return prepare(one.build({**config, **card.config}, weights))


def codes(generator: Generator, n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, generator.native.dim, generator=torch.Generator().manual_seed(seed))


def recovery_errors(generator: Generator, images: Tensor, steps: int) -> Tensor:
    """Mean squared error per image, [n], at the best of some Adam iterates from one draw of the prior."""
    code = codes(generator, len(images), seed=1).requires_grad_()
    adam = torch.optim.Adam([code], lr=0.05)
    best = torch.full((len(images),), torch.inf)
    for _ in range(steps):
        errors = (generator.decode(code) - images).square().flatten(1).mean(dim=1)
        best = torch.minimum(best, errors.detach())
        adam.zero_grad()
        torch.autograd.backward(errors.sum())
        adam.step()
    return best


def kinds(images: Tensor) -> Tensor:
    """The label, [n], of the nearest of 4,096 training images: an oracle that is right on some 80 % of test images."""
    pixels, labels = read_split("train")
    known = torch.from_numpy(pixels[:4096]).flatten(1).float() / 255
    return torch.from_numpy(labels)[torch.cdist(images.flatten(1), known).argmin(dim=1)].long()


def images_of(split: str, n: int) -> Tensor:
    return torch.from_numpy(read_split(split)[0][:n]).unsqueeze(1).float() / 255


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_have_the_hash_and_the_place_that_the_card_says(name: str) -> None:
    card, folder = CARDS[name]
    assert card.weights is not None
    package = "preimage.adapters." + folder.name
    assert card.weights.uri == f"package://{package}/{name}.safetensors"
    assert hashlib.sha256(weights_path(name).read_bytes()).hexdigest() == card.weights.sha256
    assert weights_path(name).stat().st_size <= 750_000


def test_all_weights_together_are_small() -> None:
    assert sum(weights_path(name).stat().st_size for name in WITH_WEIGHTS) < 12_000_000


def test_checkpoints_are_of_one_training() -> None:
    """Five of them: the parent's training block, cut at the card's step."""
    whole = read_recipe(read_plain_card(ZOO / "fashion-dcgan.yaml"))
    steps = [CARDS[name][0].step for name in CHECKPOINTS]
    assert len(CHECKPOINTS) == len(set(steps)) == 5
    assert CARDS["fashion-dcgan"][0].step == whole.steps
    for name in CHECKPOINTS:
        recipe = read_recipe(read_plain_card(ZOO / f"{name}.yaml"))
        assert replace(recipe, stop=None) == whole
        assert recipe.last == recipe.stop == CARDS[name][0].step
        assert CARDS[name][0].config == CARDS["fashion-dcgan"][0].config


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_models_decode_as_their_card_says(name: str) -> None:
    card, generator = CARDS[name][0], load(name)
    label = torch.arange(5) if card.num_classes else None
    images = generator.decode(codes(generator, 5), label)
    assert images.shape == (5, *card.image) and images.dtype == torch.float32
    assert generator.num_classes == card.num_classes
    assert generator.native.name == card.space


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_config_and_weights_in_the_file_alone_give_the_same_model(name: str) -> None:
    card = CARDS[name][0]
    config, _ = families()[card.family].read(weights_path(name))
    assert dict(config) == dict(card.config)


@pytest.mark.parametrize("name", TRAINED)
def test_cards_record_how_the_model_was_trained(name: str) -> None:
    card, folder = CARDS[name]
    plain = read_plain_card(folder / f"{name}.yaml")
    recipe = read_recipe(plain)
    assert recipe.objective in train.OBJECTIVES
    assert recipe.steps >= 1000 and card.training["minutes"] > 0  # type: ignore[operator]  # a number in every card
    images = train.training_images(plain)
    assert len(images.image) == len(images.label) == card.trained_on
    assert torch.equal(images.image[:4], images_of("train", 4))


def test_reference_has_no_weights() -> None:
    card = CARDS["1nn"][0]
    assert card.kind == "reference" and card.weights is None


@pytest.mark.parametrize(
    "objective, settings",
    [
        ("gan", {"loss": "hinge"}),
        ("gan", {}),
        ("gan", {"loss": "wasserstein", "critic_steps": 2, "penalty": 10.0}),
        ("glo", {}),
        ("glo", {"codes": "pca"}),
        ("autoencoder", {}),
        ("autoencoder", {"adversarial": 0.01}),
        ("vae", {}),
    ],
)
@pytest.mark.parametrize("num_classes", [0, 10])
def test_training_depends_on_the_seed_alone(
    objective: str, settings: dict[str, object], num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gan, "SETTLE_BATCHES", 2)
    card = {"name": "tiny", "dataset": "fashion-mnist", "trained_on": 12, "config": TINY | {"num_classes": num_classes}}
    training = {"objective": objective, "steps": 4, "batch": 6, "seed": 5, "settings": settings}
    before = torch.random.get_rng_state()
    once, twice = (train.shipped_weights(train.train(card | {"training": training})) for _ in range(2))
    other = train.shipped_weights(train.train(card | {"training": training | {"seed": 6}}))
    assert all(torch.equal(once[key], twice[key]) for key in once)
    first = next(key for key in once if key.endswith("layers.1.weight"))
    assert not torch.equal(once[first], other[first])
    assert torch.equal(before, torch.random.get_rng_state()), "training touched the global random state"


def test_what_training_writes_can_be_loaded(tmp_path: Path) -> None:
    decoder = Decoder(DecoderConfig.from_mapping(TINY)).eval()
    train.write({"name": "tiny", "training": {"objective": "glo"}}, decoder, 0.25, tmp_path)
    plain = read_plain_card(tmp_path / "tiny.yaml")
    generator = family.build(*family.read(tmp_path / "tiny.safetensors"))
    digest = hashlib.sha256((tmp_path / "tiny.safetensors").read_bytes()).hexdigest()
    assert plain["weights"] == {"uri": "package://preimage.adapters.embedded/tiny.safetensors", "sha256": digest}
    assert plain["training"] == {"objective": "glo", "minutes": 0.2}
    assert (tmp_path / "tiny.png").exists()
    assert all(torch.equal(a, b) for a, b in zip(generator.decoder.parameters(), decoder.parameters(), strict=True))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"training": None}, "no training block"),
        ({"training": {"objective": "gan", "steps": 1, "batch": 1, "seed": 0, "speed": 9}}, "does not know"),
        ({"training": {"objective": "magic", "steps": 1, "batch": 1, "seed": 0}}, "no objective is called 'magic'"),
        ({"training": {"objective": "gan", "steps": 1, "batch": 1, "seed": 0, "settings": {"loss": "x"}}}, "hinge or"),
        ({"trained_on": 9000}, "ships 8192"),
        ({"dataset": "mnist"}, "the card says mnist"),
        ({"config": {"depth": 3}}, "unknown keys"),
        ({"config": {"channels": 3}}, "write three numbers"),
    ],
)
def test_cards_that_cannot_be_trained_from_are_told_why(change: dict[str, object], said: str) -> None:
    training = {"objective": "gan", "steps": 1, "batch": 2, "seed": 0}
    card = {"name": "x", "dataset": "fashion-mnist", "trained_on": 8, "config": TINY, "training": training}
    with pytest.raises(CardError, match=said):
        train.train(card | change)


def test_a_file_that_is_no_card_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- 1\n")
    with pytest.raises(CardError, match="it holds a list"):
        read_plain_card(tmp_path / "x.yaml")


def test_a_training_that_is_stopped_ships_its_state_at_that_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after 2 of 4 steps it is what the whole training was then; the learning rate follows all 4."""
    monkeypatch.setattr(gan, "SETTLE_BATCHES", 1)
    seen: list[int] = []
    monkeypatch.setattr(train, "print_losses", lambda step, losses: seen.append(step))
    card = {"name": "tiny", "dataset": "fashion-mnist", "trained_on": 12, "config": TINY}
    training = {"objective": "gan", "steps": 4, "batch": 6, "seed": 5, "stop": 2}
    train.train(card | {"training": training})
    assert seen == [1, 2]


def test_codes_by_principal_components_are_whitened_scores() -> None:
    """Those of scikit-learn, up to each component's sign, with unit variance."""
    images = images_of("train", 200)
    code = fixed_codes("pca", images, 6, torch.Generator())
    reference = PCA(n_components=6, svd_solver="full").fit_transform(images.flatten(1).double().numpy())
    reference /= np.sqrt((reference**2).mean(axis=0))
    assert np.abs(code.numpy()) == pytest.approx(np.abs(reference), abs=1e-4)
    assert torch.allclose(code.square().mean(dim=0), torch.ones(6), atol=1e-5)
    with pytest.raises(CardError, match="fewer than 6 principal"):
        fixed_codes("pca", images[:6], 6, torch.Generator())
    with pytest.raises(CardError, match="gaussian or pca"):
        fixed_codes("learnt", images, 6, torch.Generator())


def test_the_gradient_penalty_is_that_of_a_known_slope() -> None:
    """A critic whose slope is 3 everywhere: (3 - 1)^2."""
    critic = Critic(normalised=False)
    slope = torch.full((784,), 3 / 28)
    critic.features = torch.nn.Flatten()
    critic.score = torch.nn.Linear(784, 1)
    with torch.no_grad():
        critic.score.weight.copy_(slope / 2)  # the critic sees 2 x - 1
    images = torch.rand(4, 1, 28, 28)
    penalty = gan.gradient_penalty(critic, images, 1 - images, None, torch.rand(4))
    assert penalty.item() == pytest.approx(4.0, rel=1e-4)


def test_the_evidence_bound_is_the_gaussian_one() -> None:
    """At mse s2 and a posterior N(1, 4) in every of 2 dimensions: D/2 log s2 + KL."""
    image = torch.zeros(3, 1, 2, 2)
    mean, log_var = torch.ones(3, 2), torch.full((3, 2), float(np.log(4.0)))
    loss, mse = negative_elbo(image, image + 0.1, mean, log_var)
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(1.0, 2.0), torch.distributions.Normal(0.0, 1.0))
    assert mse.item() == pytest.approx(0.01)
    assert loss.item() == pytest.approx(2 * np.log(0.01) + 2 * kl.item(), rel=1e-5)


def test_adversarial_losses_fall_where_they_should() -> None:
    low, high = torch.full((3,), -2.0), torch.full((3,), 2.0)
    for loss in ("hinge", "non-saturating", "wasserstein"):
        assert critic_loss(loss, real=high, fake=low) < critic_loss(loss, real=low, fake=high)
        assert decoder_loss(loss, fake=high) < decoder_loss(loss, fake=low)
    assert parse_settings(Recipe, {"objective": "gan", "steps": 1, "batch": 2, "seed": 0}).settings == {}


def test_weights_that_do_not_fit_are_listed() -> None:
    state = train.shipped_weights(Decoder(DecoderConfig.from_mapping(TINY)))
    state["layers.9.bias"] = state.pop("layers.1.weight")
    state["layers.10.bias"] = torch.zeros(3)
    with pytest.raises(WeightsError) as caught:
        family.build(TINY, state)
    said = str(caught.value)
    assert "missing: layers.1.weight [8, 4, 7, 7]" in said
    assert "left over: layers.9.bias" in said
    assert "wrong shape: layers.10.bias is [3], should be [1]" in said


def test_files_of_another_kind_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"not at all")
    for path in (tmp_path / "x.safetensors", tmp_path / "absent.safetensors"):
        with pytest.raises(WeightsError, match="cannot read"):
            family.read(path)
    with pytest.raises(CardError, match="needs"):
        closed_family.build_linear({"dim": 2}, {})
    with pytest.raises(CardError, match="write \\[channels"):
        closed_family.build_constant({"image": 28}, {})


def test_conditional_model_needs_a_label_and_one_of_its_spaces() -> None:
    generator = load("fashion-cgan")
    with pytest.raises(GeneratorError, match="10 classes"):
        generator.decode(codes(generator, 2))
    with pytest.raises(GeneratorError, match="unknown latent space"):
        generator.decode(codes(generator, 2), torch.zeros(2, dtype=torch.int64), space="w")


def test_conditional_samples_look_like_their_class() -> None:
    generator = load("fashion-cgan")
    label = torch.arange(10).repeat(30)
    seen = kinds(generator.decode(codes(generator, 300), label))
    assert (seen == label).float().mean() > 0.6
    assert all((seen[label == c] == c).float().mean() > 0.2 for c in range(10))


def test_unconditional_samples_are_of_all_ten_kinds() -> None:
    generator = load("fashion-dcgan")
    share = torch.bincount(kinds(generator.decode(codes(generator, 500))), minlength=10) / 500
    assert share.min() > 0.01 and share.max() < 0.4


def test_glo_recovers_its_training_images_far_better_than_others() -> None:
    generator = load("fashion-glo-128")
    seen = recovery_errors(generator, images_of("train", 16), steps=200).median()
    unseen = recovery_errors(generator, images_of("test", 16), steps=200).median()
    assert 3 * seen < unseen


@pytest.mark.parametrize("name", AUTOENCODERS)
def test_encoders_give_back_what_they_were_trained_on(name: str) -> None:
    """Training images come back; their codes are nearly standard, so N(0, I) is a prior for them."""
    card, generator = CARDS[name][0], load(name)
    images = images_of("train", min(1024, card.trained_on or 0))
    code = generator.encode(images)
    error = (generator.decode(code) - images).square().flatten(1).mean(dim=1).median()
    other = images_of("test", 256)
    unseen = (generator.decode(generator.encode(other)) - other).square().flatten(1).mean(dim=1).median()
    assert error < 0.02
    assert error < unseen
    assert code.mean(dim=0).abs().mean() < 0.4 and 0.8 < code.std(dim=0).mean() < 1.35


def test_conditional_vae_samples_look_like_their_class() -> None:
    generator = load("fashion-cvae")
    label = torch.arange(10).repeat(20)
    assert (kinds(generator.decode(codes(generator, 200), label)) == label).float().mean() > 0.35  # chance is 0.1


def test_ppca_is_the_maximum_likelihood_fit() -> None:
    generator = load("ppca")
    assert isinstance(generator, closed_family.LinearGaussian) and generator.sigma2 is not None
    pixels = training_pixels(8192)
    reference = PCA(n_components=64, svd_solver="full").fit(pixels)
    to_ml = (len(pixels) - 1) / len(pixels)  # scikit-learn divides by n - 1
    assert generator.sigma2 == pytest.approx(reference.noise_variance_ * to_ml, rel=1e-6)
    W = generator.W.double().numpy()
    lengths = (W**2).sum(axis=0) + generator.sigma2
    assert lengths == pytest.approx(reference.explained_variance_ * to_ml, rel=1e-4)
    model = W @ W.T + generator.sigma2 * np.eye(784)
    assert np.allclose(model, reference.get_covariance() * to_ml, atol=1e-5)
    assert np.allclose(generator.b.numpy(), pixels.mean(axis=0), atol=1e-6)


def test_ppca_finds_the_directions_that_made_the_data() -> None:
    random = np.random.default_rng(0)
    W = np.array([[3.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    pixels = random.normal(size=(200_000, 2)) @ W.T + [1.0, 2.0, 3.0] + 0.1 * random.normal(size=(200_000, 3))
    fit = fit_ppca(pixels, dim=2)
    assert np.allclose(fit.W, np.abs(W), atol=0.02)
    assert fit.b == pytest.approx([1.0, 2.0, 3.0], abs=0.03)
    assert fit.sigma2 == pytest.approx(0.01, rel=0.02)


def test_mean_image_ignores_its_code_but_stays_connected_to_it() -> None:
    generator = load("mean-image")
    code = codes(generator, 2).requires_grad_()
    images = generator.decode(code)
    torch.autograd.backward(images.sum())
    assert torch.equal(images[0], images[1])
    assert code.grad is not None and code.grad.abs().max() == 0
    assert np.allclose(images[0].flatten().detach().numpy(), training_pixels(8192).mean(axis=0), atol=1e-6)


def test_every_card_names_its_training_images_and_a_licence() -> None:
    for card, _ in CARDS.values():
        assert isinstance(card, ModelCard) and card.trained_on and card.licence == "Apache-2.0"
