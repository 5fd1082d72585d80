"""``convert``: a checkpoint made into a .safetensors file and a card."""

from __future__ import annotations

from pathlib import Path

import click

from preimage.harness.verbs.arguments import registry


@click.command()
@click.argument("file", metavar="FILE")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.safetensors")
@click.option("--family", required=True, metavar="F", help="the architecture (`preimage list families`)")
@click.option("--dataset", required=True, metavar="D", help="the data set that the model was trained on")
@click.option("--name", metavar="N", help="of the model; that of the new file where not given")
@click.option("--licence", default="", metavar="L", help="of the weights")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="a setting that the file does not hold, e.g. dim=64"
)
@click.option("--force", is_flag=True, help="write over OUT.safetensors and its card")
@click.option("--offline", is_flag=True, help="download nothing")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE", help="a plug-in's Python file")
def convert(
    file: str,
    out: Path,
    family: str,
    dataset: str,
    name: str | None,
    licence: str,
    settings: tuple[str, ...],
    force: bool,
    offline: bool,
    plugins: tuple[str, ...],
) -> None:
    """Make a checkpoint into a .safetensors file with its settings, and OUT.yaml, the card that loads it.

    FILE is a path or an address, as on a card. No code that it carries is run. The model is built from it first, so
    that what is written fits; tensors keep their values and types.

    \b
    Examples:
      preimage convert snapshot.pkl --family stylegan2-ada --dataset cifar10 my-gan.safetensors
      preimage convert decoder.pth --family embedded-decoder --dataset mnist --set dim=32 my-decoder.safetensors
      preimage convert hf://org/repo@main/model.pth --family embedded-decoder --dataset mnist my-decoder.safetensors
    """
    from preimage.harness.converting import Conversion
    from preimage.harness.converting import convert as converted
    from preimage.harness.options import parse_settings

    wanted = Conversion(file, family, out, dataset, name, licence, parse_settings(settings), force, offline)
    card, tensors = converted(registry(plugins, ()), wanted)
    click.echo(f"{wanted.out}  {tensors} tensors, {wanted.out.stat().st_size / 1e6:,.1f} MB")
    click.echo(f"{wanted.card}  the card of {card.name!r}: preimage check {card.name} --card {wanted.card}")
