"""Model cards: what a card must say, and what each wrong card is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from preimage.harness.cards import ImageSpec, ModelCard, Weights, card_from, read_card, read_cards
from preimage.harness.errors import CardError

SHA = "0123456789abcdef" * 4
PLAIN: dict[str, Any] = {"name": "m", "family": "f", "dataset": "d", "image": [3, 8, 4], "num_classes": 0}


def made(**changes: Any) -> ModelCard:
    return card_from(PLAIN | changes, source="card 'm.yaml'")


def refused(**changes: Any) -> str:
    with pytest.raises(CardError) as caught:
        made(**changes)
    return str(caught.value)


def test_an_image_has_values_and_a_short_form() -> None:
    assert ImageSpec(3, 8, 4).values == 96
    assert str(ImageSpec(3, 8, 4)) == "3x8x4"


def test_a_card_needs_five_fields_and_has_defaults_for_the_rest() -> None:
    card = made()
    assert card == ModelCard("m", "f", "d", ImageSpec(3, 8, 4), 0)
    assert card.image.width == 4
    assert (card.space, card.kind, card.version, card.weights, card.tags) == ("z", "generator", 1, None, ())


def test_all_that_a_card_says_is_kept() -> None:
    said: dict[str, Any] = {
        "config": {"width": 64},
        "space": "w",
        "paper": "arXiv",
        "licence": "MIT",
        "reported": {"fid": 2.5},
        "tags": ["gan"],
        "version": 2,
        "trained_on": 100,
        "parent": "p",
        "step": 0,
        "kind": "reference",
        "training": {"seed": 1},
    }
    card = made(**said)
    assert {name: getattr(card, name) for name in said} == said | {"tags": ("gan",)}


def test_a_card_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        made().name = "other"  # type: ignore[misc]  # that is what is tested


def test_unknown_fields_are_named_with_a_guess() -> None:
    said = refused(licenze="MIT", zzz=1)
    assert said.startswith("card 'm.yaml': unknown field `licenze` (did you mean `licence`?); unknown field `zzz`. A ")
    assert "name, family, dataset, image, num_classes, config" in said
    assert "load" not in said


def test_the_loader_of_a_model_in_code_is_no_field_of_a_file() -> None:
    assert "unknown field `load`" in refused(load="os.system")


def test_missing_fields_are_named_all_at_once() -> None:
    with pytest.raises(CardError, match="card 'x': required field `family` is missing; required field `image` is"):
        card_from({"name": "m", "dataset": "d", "num_classes": 0}, source="card 'x'")


@pytest.mark.parametrize(
    "image", [[3, 8], [3, 8, 8, 8], [3, 8, 0], [3, 8, -8], [3, 8, 8.0], [True, 8, 8], "3x8x8", None, 8, {"channels": 3}]
)
def test_an_image_is_three_positive_whole_numbers(image: object) -> None:
    assert refused(image=image) == f"card 'm': `image` is {image!r}; write [channels, height, width], e.g. [3, 32, 32]"


@pytest.mark.parametrize("field", ["name", "family", "dataset", "space"])
@pytest.mark.parametrize("value", ["", "  ", None, 3])
def test_names_are_texts(field: str, value: object) -> None:
    assert f"`{field}` is {value!r}; it must be a text that is not empty" in refused(**{field: value})


@pytest.mark.parametrize(("field", "least"), [("num_classes", 0), ("version", 1), ("trained_on", 1), ("step", 0)])
def test_numbers_are_whole_and_large_enough(field: str, least: int) -> None:
    assert getattr(made(**{field: least}), field) == least
    for value in (least - 1, 1.5, True, "2"):
        assert f"`{field}` is {value!r}; it must be a whole number from {least} up" in refused(**{field: value})


@pytest.mark.parametrize("field", ["num_classes", "version"])
def test_these_numbers_cannot_be_left_open(field: str) -> None:
    assert f"`{field}` is None; it must be a whole number" in refused(**{field: None})


def test_a_kind_is_one_of_two() -> None:
    assert refused(kind="classifier") == "card 'm': `kind` is 'classifier'; it must be generator or reference"


@pytest.mark.parametrize("field", ["config", "reported", "training"])
def test_tables_are_tables(field: str) -> None:
    assert f"`{field}` is [1]; it must be a table of settings" in refused(**{field: [1]})


def test_tags_are_a_list() -> None:
    assert refused(tags="gan") == "card 'm': `tags` is 'gan'; write a list of texts, e.g. [gan, digits]"
    assert refused(tags=[1]) == "card 'm': `tags` is [1]; write a list of texts, e.g. [gan, digits]"


def test_weights_are_a_path_or_a_table() -> None:
    assert made(weights="hf://o/r@1/f").weights == Weights("hf://o/r@1/f")
    assert made(weights={"uri": "a.pt", "sha256": SHA.upper()}).weights == Weights("a.pt", SHA)


@pytest.mark.parametrize("weights", [3, ["a.pt"], {}, {"sha256": SHA}, {"uri": 3}, {"uri": "a.pt", "md5": "x"}])
def test_other_weights_are_refused(weights: object) -> None:
    assert f"card 'm.yaml': `weights` is {weights!r}; write a path, or uri and sha256" in refused(weights=weights)


@pytest.mark.parametrize("sha256", ["abc", SHA + "0", "z" * 64, 1234, SHA[:-1] + "\n"])
def test_a_hash_is_64_hexadecimal_digits(sha256: object) -> None:
    said = refused(weights={"uri": "a.pt", "sha256": sha256})
    assert said == f"card 'm.yaml': `sha256` is {sha256!r}; it must be 64 hexadecimal digits in quotes"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


CARD = "name: {name}\nfamily: f\ndataset: d\nimage: [1, 28, 28]\nnum_classes: 10\nweights: {weights}\n"


def test_relative_weights_lie_beside_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "cards" / "m.yaml", CARD.format(name="m", weights="sub/w.pt"))
    monkeypatch.chdir(tmp_path)
    assert read_card(Path("cards/m.yaml")).weights == Weights(str(tmp_path.resolve() / "cards" / "sub" / "w.pt"))
    for uri in ("/data/w.pt", "~/w.pt", "hf://o/r@1/f", "package://p/f"):
        assert read_card(write(file, CARD.format(name="m", weights=f"'{uri}'"))).weights == Weights(uri)


def test_a_file_gives_one_card_and_a_folder_all_of_its_own(tmp_path: Path) -> None:
    one = write(tmp_path / "b.yaml", CARD.format(name="one", weights="w"))
    write(tmp_path / "a.yaml", CARD.format(name="two", weights="w"))
    write(tmp_path / "notes.txt", "no card")
    write(tmp_path / "deeper" / "c.yaml", CARD.format(name="three", weights="w"))
    assert [card.name for card in read_cards(one)] == ["one"]
    assert [card.name for card in read_cards(tmp_path)] == ["two", "one"]


def test_an_empty_folder_holds_no_card(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"the folder '.*' holds no \*\.yaml card"):
        read_cards(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"cannot read the card '.*none\.yaml': .*No such file.*Give the path of"):
        read_cards(tmp_path / "none.yaml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(CardError, match=r"cannot read the card '.*m\.yaml': .*utf-8"):
        read_card(tmp_path / "m.yaml")


def test_a_text_that_is_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"the card '.*m\.yaml' is not YAML: (?s:.)*line 1"):
        read_card(write(tmp_path / "m.yaml", "name: [1, 2"))


def test_yaml_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"m\.yaml' holds list, not a table of fields: name, family"):
        read_card(write(tmp_path / "m.yaml", "- name"))
    with pytest.raises(CardError, match="holds NoneType, not a table"):
        read_card(write(tmp_path / "m.yaml", ""))


def test_a_card_never_runs_code(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="is not YAML: could not determine a constructor"):
        read_card(write(tmp_path / "m.yaml", "name: !!python/object/apply:os.getcwd []"))


def test_errors_of_a_file_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"card '.*m\.yaml': unknown field `nmae` \(did you mean `name`\?\)"):
        read_card(write(tmp_path / "m.yaml", CARD.format(name="m", weights="w") + "nmae: x\n"))
