"""Snapshots of official training, and released files of other families: read whole, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from preimage.harness.checkpoints import held_in, network_in, read_tensors
from preimage.harness.errors import WeightsError
from preimage.harness.reading.inert import InertObject
from preimage.harness.reading.networks import NetworkRecord

from .watch import nothing_runs
from .written import EASY, PERSISTENT, Call, Global, Instance, network, pickled, snapshot


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    """Whether two tables hold the same tensors, bit for bit, under the same names."""
    equal = all(torch.equal(ours[name], value) and ours[name].dtype == value.dtype for name, value in theirs.items())
    return ours.keys() == theirs.keys() and equal


def config(folder: Path) -> dict[str, Any]:
    """What is said of a set of reference outputs."""
    found = json.loads((folder / "config.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_snapshot_of_stylegan2(shared: Path, canary: Path) -> None:
    folder = shared / "golden" / "stylegan2ada-cond"
    with nothing_runs(canary):
        record, held = network_in(folder / "snapshot_nosrc.pkl"), held_in(folder / "snapshot_nosrc.pkl")
    assert same(record.tensors(), load_file(folder / "weights.safetensors"))
    assert record.init_args == () and record.init_kwargs == config(folder)["init_kwargs"]
    assert record.class_name == "Generator" and list(record.children) == ["synthesis", "mapping"]
    assert record.attributes["num_ws"] == config(folder)["num_ws"]
    assert isinstance(held, dict) and isinstance(held["G"], NetworkRecord) and isinstance(held["D"], NetworkRecord)
    drawn = ("noise_const", "resample_filter", "w_avg")  # buffers; the parameters of G are all zero
    assert not any(value.any() for name, value in held["G"].tensors().items() if not name.endswith(drawn))
    assert held["D"].class_name == "Discriminator" and held["D"].tensors()


def test_the_snapshot_of_stylegan_xl(shared: Path, canary: Path) -> None:
    folder = shared / "golden" / "styleganxl-sr"
    said = config(folder)
    with nothing_runs(canary):
        record = network_in(folder / "snapshot_nosrc.pkl")
    assert same(record.tensors(), load_file(folder / "weights.safetensors"))
    assert record.init_kwargs["head_layers"] == said["superres_kwargs"][0]["head_layers"]
    synthesis = record.children["synthesis"]
    assert synthesis.attributes["layer_names"] == said["layer_names"]
    assert synthesis.attributes["output_scale"] == said["output_scale"]
    layers = synthesis.children
    for wanted in [{"name": "input", **said["input"]}, *said["layers"]]:
        attributes = layers[wanted.pop("name")].attributes
        for key, value in wanted.items():
            assert np.array_equal(np.asarray(attributes[key]), np.asarray(value)), key
    embed = record.children["mapping"].children["embed"]
    assert embed.class_name == "Embedding" and list(embed.tensors()["weight"].shape) == said["embed"]


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("biggan-cifar/G_ema_best.pth", ()),
        ("hfbiggan-dev/hf/pytorch_model.bin", ()),
        ("studiogan-reacgan/model=G_ema-best-weights-step=100000.pth", ("state_dict",)),
        ("mesch-resnet/model_official_layout.pt", ("generator_test",)),
        ("pgan-dev/official_layout.pth", ("avgG",)),
    ],
)
def test_released_layouts_of_other_families(shared: Path, file: str, place: tuple[str, ...], canary: Path) -> None:
    with nothing_runs(canary):
        held: Any = held_in(shared / "golden" / file)
    for name in place:
        held = held[name]
    bare = {name.removeprefix("module."): value for name, value in held.items()}
    assert same(bare, load_file(shared / "golden" / file.split("/")[0] / "weights.safetensors"))


def test_settings_of_the_gan_zoo_are_a_record(shared: Path) -> None:
    held: Any = held_in(shared / "golden" / "pgan-dev" / "official_layout.pth")
    assert type(held["config"]) is InertObject and str(held["config"].of) == "models.utils.config.BaseConfig"
    assert held["config"].state["latentVectorDim"] == 32 and held["config"].state["depthOtherScales"] == [24, 16, 12]


def test_files_of_small_generators_are_read(shared: Path) -> None:
    files = [p for p in (shared / "assets" / "generators").rglob("*") if p.suffix in (".pth", ".pt", ".ckpt")]
    assert len(files) > 5
    for file in files:
        theirs = torch.load(file, map_location="cpu", weights_only=True)
        assert same(read_tensors(file), {name: value for name, value in theirs.items() if isinstance(value, Tensor)})


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_snapshots_of_every_protocol(protocol: int, tmp_path: Path, canary: Path) -> None:
    path, plain = tmp_path / "a.pkl", {"G_ema": network("Generator", {"w": torch.arange(3.0)}, size=np.array([4, 5]))}
    path.write_bytes(pickled(snapshot() if protocol >= 2 else plain, protocol))
    with nothing_runs(canary):
        record = network_in(path)
    assert record.tensors()["w"].flatten().tolist()[:2] == ([0, 2] if protocol >= 2 else [0, 1])
    assert np.array_equal(np.asarray(record.attributes["size"]), [36, 36] if protocol >= 2 else [4, 5])


def test_a_small_snapshot_holds_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled(snapshot()))
    record = network_in(path)
    assert list(record.tensors()) == ["w", "w_avg", "affine.weight", "embed.weight"]
    assert record.tensors()["w"].tolist() == [[0, 2], [1, 3]] and not record.tensors()["w"].requires_grad
    assert record.init_args == (3,) and record.init_kwargs == {}
    assert set(record.attributes) == {"training", "size"}
    assert record.children["affine"].attributes == {"training": False, "gain": 0.5}
    assert record.children["embed"].attributes == {"dim": 2} and repr(record) == "<network Generator>"


def test_the_generator_is_chosen_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    first, second = network("First", {}), network("Second", {})
    for held, name in [
        ({"G": first, "G_ema": second, "D": first}, "Second"),
        ({"G_ema": None, "G": first, "D": second}, "First"),
        ({"G": None, "other": second, "n": 3}, "Second"),
        (first, "First"),
        ({"G_ema": Instance(Global("a.b", "Plain"), (), {"_modules": {}})}, "Plain"),
    ]:
        path.write_bytes(pickled(held))
        assert network_in(path).class_name == name


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"a": torch.ones(1), "b": 3}, r"it holds a \(a Tensor\), b \(a int\)"),
        ({}, "it holds nothing"),
        ([1], "it holds a list"),
        ({"D": network("First", {}), "E": network("Second", {})}, r"D \(<network First>\), E \(<network Second>\)"),
        ({"G_ema": {"w": torch.ones(1)}, "G": network("First", {})}, r"G_ema \(a dict\)"),
        ({"G_ema": Instance(Global("a.b", "C"), (), {"x": 1})}, r"G_ema \(an object of a\.b\.C\)"),
    ],
)
def test_a_file_without_a_generator_says_what_it_holds(held: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled(held))
    with pytest.raises(WeightsError, match=rf"no generator in '.*a.pkl': .*{said}.* Give a snapshot with a network"):
        network_in(path)


def test_what_a_terminal_would_obey_is_not_printed(tmp_path: Path, canary: Path) -> None:
    path, bell = tmp_path / "a.pkl", "\x1b]0;owned\x07\ud800"
    for held in ({bell: 1}, {"G_ema": Call(Global("a", "b"), ())}, {"a": Instance(Global("sys", bell))}):
        path.write_bytes(pickled(held, 4))
        with nothing_runs(canary), pytest.raises(WeightsError) as caught:
            network_in(path)
        assert str(caught.value).isprintable()
    path.write_bytes(pickled({"G_ema": network(bell, {bell: torch.ones(1)}, {bell: 3})}, 4))
    with nothing_runs(canary), pytest.raises(WeightsError) as caught:
        network_in(path).tensors()
    assert str(caught.value).isprintable() and "owned" in str(caught.value)


def test_easy_tables_of_old_protocols(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    table = Call(Global("copy_reg", "_reconstructor"), (EASY, Global("__builtin__", "dict"), {"z_dim": 4}))
    path.write_bytes(pickled({"G_ema": network("Generator", {}, {}, _init_kwargs=table)}, 1))
    assert network_in(path).init_kwargs == {"z_dim": 4}


PROBLEMS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a parameter": ({"_parameters": {"w": 3}}, "tensors", "w is a int, not a tensor"),
    "an object for a buffer": (
        {"_buffers": {"b": Instance(Global("a.b", "C"))}},
        "tensors",
        r"b is an object of a\.b\.C, not a tensor",
    ),
    "a table": ({"_parameters": [1]}, "tensors", "its `_parameters` is a list, not a table by name"),
    "a name": ({"_buffers": {3: None}}, "tensors", "not a table by name"),
    "a long name": ({"_buffers": {"a" * 2000: None}}, "tensors", "not a table by name"),
    "a module": ({"_modules": {"a": Global("os", "system")}}, "children", "its module 'a' is the name os.system"),
    "a module of its own": ({"_modules": {"a": Instance(Global("a.b", "C"))}}, "tensors", "'a' is an object of a.b.C"),
    "arguments": ({"_init_args": 3}, "init_args", "its `_init_args` are a int, not a tuple"),
    "named arguments": ({"_init_kwargs": (1,)}, "init_kwargs", "its `_init_kwargs` is a tuple, not a table by name"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_no_data_in_a_network_is_told(name: str, tmp_path: Path, canary: Path) -> None:
    state, asked, said = PROBLEMS[name]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled({"G_ema": network("Generator", {}, {}, **state)}))
    record = network_in(path)
    with nothing_runs(canary), pytest.raises(WeightsError, match=f"<network Generator>: .*{said}.*Give an official"):
        record.tensors() if asked == "tensors" else getattr(record, asked)


def test_a_whole_snapshot_of_a_projected_gan_is_read(tmp_path: Path, canary: Path) -> None:
    """What their discriminators hold beside networks; everything is recorded, and nothing is asked of it."""
    code = Call(Global("dill._dill", "_create_code"), (1, b"d\x00S\x00", (None,), (), "f"))
    cell = Call(Global("dill._dill", "_create_cell"), (Global("math", "sqrt"),))
    vit = Global("feature_networks.vit", "__dict__")
    hook = Call(Global("dill._dill", "_create_function"), (code, vit, "hook", None, (cell,)))
    method = Call(Global("builtins", "getattr"), (Global("dill", "_dill"), "_create_function"))
    features = {
        "model": Instance(Global("timm.models.efficientnet", "EfficientNet"), (), {"_modules": {}, "act": hook}),
        "relu": Instance(Global("torch.nn.modules.activation", "ReLU"), (), {"inplace": True}),
        "norm": Instance(Global("torch.nn.utils.spectral_norm", "SpectralNorm"), (), {"eps": 1e-12}),
        "float": Instance(Global("torch.ao.nn.quantized.modules.functional_modules", "FloatFunctional"), (), {}),
        "size": Call(Global("torch", "Size"), ((3, 4),)),
        "cell": [Call(method, (code,)), Call(Global("builtins", "setattr"), (hook, "a", 1))],
        "set": Call(Call(Global("dill._dill", "_load_type"), ("set",)), ([1, 2],)),
        "settings": Instance(EASY),
    }
    discriminator = Instance(Global("pg_modules.discriminator", "ProjectedDiscriminator"), (), features)
    progress = {"cur_nimg": torch.tensor(3), "best_fid": 1.5}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled(snapshot(D=discriminator, progress=progress)))
    with nothing_runs(canary):
        held: Any = held_in(path)
        record = network_in(path)
    assert len(record.tensors()) == 4 and held["progress"]["cur_nimg"].item() == 3
    assert held["D"].state["set"] == {1, 2} and held["D"].state["size"] == (3, 4)
    assert type(held["D"].state["model"].state["act"]) is InertObject


def test_meta_data_of_a_network_may_be_an_easy_table(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    meta = {"class_name": "Generator", "state": {"_parameters": {}, "_init_kwargs": Call(EASY, ({"z_dim": 4},))}}
    path.write_bytes(pickled({"G_ema": Call(PERSISTENT, (meta,))}))
    assert network_in(path).init_kwargs == {"z_dim": 4}
