"""Plug-ins: what they register, and what happens where two disagree or one is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from preimage.harness import ImageSpec
from preimage.harness.errors import CardError, DuplicateName, UnknownName, UsageError
from preimage.harness.hooks import lazy
from preimage.harness.plugins import Catalogue, Plugin, Registry, Sources, expand

HEAD = "from preimage.harness import Family, DatasetCard, ImageSpec, ModelCard, hookimpl\n"
MODEL = 'ModelCard("{name}", "f", "d", ImageSpec(1, 2, 2), 0)'
CARD = "name: {name}\nfamily: f\ndataset: d\nimage: [1, 2, 2]\nnum_classes: 0\n"


class Bench:
    """Files of plug-ins in a folder, and the registry that they make."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, body: str, head: str = HEAD) -> str:
        path = self.folder / f"{name}.py"
        path.write_text(head + body, encoding="utf-8")
        return str(path)

    def hook(self, name: str, hook: str, *calls: str) -> str:
        lines = "".join(f"    register({call})\n" for call in calls)
        return self.write(name, f"@hookimpl\ndef register_{hook}(register):\n{lines}")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def registry(*plugins: str, cards: tuple[str, ...] = ()) -> Registry:
    return Registry(Sources(plugins=plugins, cards=cards, entry_points=False))


def problem(registry: Registry) -> Plugin:
    """The one plug-in that went wrong."""
    (broken,) = (plugin for plugin in registry.plugins if plugin.problem)
    return broken


def test_nothing_installed_is_nothing_registered() -> None:
    empty = registry()
    assert empty.plugins == []
    assert [len(kind) for kind in (empty.models, empty.families, empty.datasets, empty.benchmarks, empty.suites)] == [
        0
    ] * 5
    assert "anything" not in empty.models


def test_a_plug_in_brings_every_kind_of_thing(bench: Bench) -> None:
    (bench.folder / "m.yaml").write_text(CARD.format(name="on-disk"), encoding="utf-8")
    body = f"""
from pathlib import Path
class Named:
    def __init__(self, name): self.name = name
@hookimpl
def register_families(register): register(Family("fam", None, None))
@hookimpl
def register_models(register):
    register({MODEL.format(name="in-code")})
    register(Path(__file__).with_name("m.yaml"))
@hookimpl
def register_datasets(register): register("set", Named("its own name"))
@hookimpl
def register_benchmarks(register): register(Named("bench"))
@hookimpl
def register_distances(register): register(Named("far"))
@hookimpl
def register_solvers(register): register(Named("solve"))
"""
    path = bench.write("mine", body)
    found = registry(path)
    assert [plugin.problem for plugin in found.plugins] == [""]
    assert found.plugins[0].source == path
    assert list(found.models) == ["in-code", "on-disk"]
    assert found.models["on-disk"].image == ImageSpec(1, 2, 2)
    kinds = (found.families, found.datasets, found.benchmarks, found.distances, found.solvers)
    assert [list(kind) for kind in kinds] == [["fam"], ["set"], ["bench"], ["far"], ["solve"]]
    assert found.models.owner("in-code") == f"mine ({path})"
    assert found.distance("far") is found.distances["far"]
    assert [name for name, _ in found.models.items()] == ["in-code", "on-disk"]


@pytest.mark.parametrize(
    ("hook", "thing", "kind"),
    [
        ("models", MODEL.format(name="same"), "model"),
        ("families", 'Family("same", None, None)', "family"),
        ("datasets", 'DatasetCard("same", ImageSpec(1, 2, 2), 0, ("test",), None)', "dataset"),
        ("distances", '"same", object()', "distance"),
    ],
)
def test_two_plug_ins_of_one_name_are_both_named(bench: Bench, hook: str, thing: str, kind: str) -> None:
    first, second = bench.hook("first", hook, thing), bench.hook("second", hook, thing)
    with pytest.raises(DuplicateName) as caught:
        registry(first, second)
    assert str(caught.value) == (
        f"plug-ins 'first ({first})' and 'second ({second})' both register a {kind} named 'same'. "
        "Rename one, or leave one out"
    )


def test_one_plug_in_may_not_register_a_name_twice(bench: Bench) -> None:
    path = bench.hook("mine", "models", MODEL.format(name="same"), MODEL.format(name="same"))
    with pytest.raises(DuplicateName, match=r"plug-in 'mine .*' twice register a model named 'same'"):
        registry(path)


def test_a_card_may_not_take_the_name_of_a_model(bench: Bench) -> None:
    path = bench.hook("mine", "models", MODEL.format(name="same"))
    card = bench.folder / "same.yaml"
    card.write_text(CARD.format(name="same"), encoding="utf-8")
    with pytest.raises(
        DuplicateName, match=r"plug-ins 'mine .*' and 'card .*same\.yaml' both register a model named 'same'"
    ):
        registry(path, cards=(str(card),))


def test_one_name_may_stand_for_things_of_two_kinds(bench: Bench) -> None:
    found = registry(bench.hook("a", "models", MODEL.format(name="x")), bench.hook("b", "distances", '"x", object()'))
    assert (list(found.models), list(found.distances)) == (["x"], ["x"])


def test_cards_of_a_file_and_of_a_folder(bench: Bench) -> None:
    for name in ("one", "two"):
        (bench.folder / f"{name}.yaml").write_text(CARD.format(name=name), encoding="utf-8")
    assert list(registry(cards=(str(bench.folder),)).models) == ["one", "two"]
    found = registry(cards=(str(bench.folder / "two.yaml"),))
    assert list(found.models) == ["two"]
    assert found.models.owner("two").startswith("card ")


def test_a_card_that_is_none_is_an_error() -> None:
    with pytest.raises(CardError, match=r"cannot read the card 'nowhere\.yaml'"):
        registry(cards=("nowhere.yaml",))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plug_in_that_fails_to_import_is_reported_and_skipped(bench: Bench, body: str, said: str) -> None:
    good, bad = bench.hook("good", "models", MODEL.format(name="m")), bench.write("bad", body)
    found = registry(bad, good)
    assert list(found.models) == ["m"]
    broken = problem(found)
    assert broken.name == f"bad ({bad})"
    assert broken.problem.startswith(said)
    assert "Traceback" in broken.trace
    assert not any(name.startswith("preimage_plugin_bad") for name in sys.modules)


def test_a_plug_in_that_fails_to_register_is_reported_and_the_others_go_on(bench: Bench) -> None:
    bad = bench.write("bad", "@hookimpl\ndef register_models(register):\n    raise ValueError('later')\n")
    found = registry(bad, bench.hook("good", "models", MODEL.format(name="m")))
    assert problem(found).problem == "ValueError: later"
    assert "Traceback" in problem(found).trace
    assert list(found.models) == ["m"]


@pytest.mark.parametrize(
    ("hook", "call", "said"),
    [
        ("distances", "object()", "registers a distance without a name: <object object"),
        ("distances", "'', object()", "registers a distance without a name"),
        ("distances", "", "call register(thing) or register(name, thing), not register()"),
        ("distances", "object(), 'name'", "call register(thing) or register(name, thing), not register(<object"),
        ("distances", "'a', 'b', 'c'", "not register('a', 'b', 'c')"),
        ("models", "'nowhere.yaml'", "CardError: cannot read the card 'nowhere.yaml'"),
    ],
)
def test_wrong_registrations_are_told(bench: Bench, hook: str, call: str, said: str) -> None:
    assert said in problem(registry(bench.hook("mine", hook, call))).problem


def test_a_missing_file_is_a_usage_error(bench: Bench) -> None:
    path = str(bench.folder / "none.py")
    with pytest.raises(UsageError, match=r"there is no plug-in file .*none\.py.*--plugin FILE\.py"):
        registry(path)


def test_a_plug_in_that_fails_half_way_leaves_nothing(bench: Bench) -> None:
    first, broken = MODEL.format(name="first"), "register"
    found = registry(bench.hook("half", "models", first, broken))
    assert "half" in problem(found).name
    assert list(found.models) == []


def test_a_file_that_is_not_python_is_reported(bench: Bench) -> None:
    path = bench.folder / "card.yaml"
    path.write_text(CARD.format(name="m"), encoding="utf-8")
    assert (
        problem(registry(str(path))).problem
        == f"PluginError: {str(path)!r} is not a Python file; give --plugin FILE.py"
    )


def test_files_of_one_name_are_two_plug_ins(bench: Bench) -> None:
    (bench.folder / "deep").mkdir()
    one = bench.hook("mine", "models", MODEL.format(name="one"))
    two = Bench(bench.folder / "deep").hook("mine", "models", MODEL.format(name="two"))
    assert list(registry(one, two).models) == ["one", "two"]


def test_a_data_set_is_opened_when_it_is_asked_for_and_once(bench: Bench) -> None:
    body = """
opened = []
def open_it():
    opened.append(1)
    return opened
@hookimpl
def register_datasets(register): register(DatasetCard("d", ImageSpec(1, 2, 2), 0, ("test",), open_it))
"""
    found = registry(bench.write("mine", body))
    seen: list[object] = [found.dataset("d"), found.dataset("d")]
    assert seen[0] == [1]
    assert seen[1] is seen[0]
    with pytest.raises(UnknownName, match="unknown dataset 'e'"):
        found.dataset("e")


def test_verbs_are_added_to_the_command_line(bench: Bench) -> None:
    import click

    body = "import click\n@hookimpl\ndef register_commands(cli): cli.add_command(click.Command('sing'))\n"
    group = click.Group("preimage")
    registry(bench.write("mine", body)).add_commands(group)
    assert list(group.commands) == ["sing"]


def test_an_unknown_name_gets_a_guess_and_a_command() -> None:
    catalogue: Catalogue[int] = Catalogue("model")
    for name in ("stylegan2-ffhq", "biggan"):
        catalogue.add(name, 1, "p")
    with pytest.raises(UnknownName) as caught:
        catalogue["stylegan-ffhq"]
    assert str(caught.value) == (
        "unknown model 'stylegan-ffhq'. Did you mean 'stylegan2-ffhq'? Type `preimage list models` to see all 2."
    )
    with pytest.raises(UnknownName, match=r"unknown model 'zzz'\. Type `preimage list models`"):
        catalogue["zzz"]
    with pytest.raises(UnknownName, match="`preimage list families`"):
        Catalogue("family")["f"]


def test_globs_are_expanded_in_the_order_asked() -> None:
    catalogue: Catalogue[int] = Catalogue("model")
    for name in ("a-2", "a-1", "b-1", "A-3"):
        catalogue.add(name, 1, "p")
    assert expand(catalogue, ["b-*", "a-*", "*-1"]) == ["b-1", "a-1", "a-2"]
    assert expand(catalogue, []) == []
    with pytest.raises(UnknownName, match=r"unknown model 'c-\*'"):
        expand(catalogue, ["a-1", "c-*"])


def test_a_lazy_callable_is_imported_when_it_is_called() -> None:
    assert lazy("math:hypot")(3, 4) == 5
    assert lazy("math:hypot").__name__ == "hypot"
    later = lazy("a_module_that_is_not_there:f")
    with pytest.raises(ModuleNotFoundError):
        later()


def imported(code: str) -> set[str]:
    """The modules in memory once a fresh interpreter has run the code."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import preimage.harness",
        "from preimage.harness import hookimpl, ImageSpec, ModelCard, PreimageError",
        "import preimage.harness.plugins as p; p.Registry(p.Sources(entry_points=False))",
    ],
)
def test_importing_the_package_imports_no_torch(code: str) -> None:
    heavy = {"torch", "numpy", "scipy", "PIL", "sklearn"} & imported(code)
    assert not heavy


def test_public_names_resolve_when_used() -> None:
    import preimage.harness as harness

    assert harness.Streams.__module__ == "preimage.harness.streams"
    assert {"FolderDataset", "IdxDataset", "NpzDataset", "Generator"} <= set(dir(harness))
    with pytest.raises(AttributeError, match=r"module 'preimage\.harness' has no attribute 'Nothing'"):
        harness.Nothing  # noqa: B018  # asking for it is what is tested
