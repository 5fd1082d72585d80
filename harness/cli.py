"""The command line: parses and prints; the logic lives elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import click

from preimage.harness.errors import DuplicateName, PreimageError, UnknownName, UsageError
from preimage.harness.verbs.checking import check
from preimage.harness.verbs.comparing import compare
from preimage.harness.verbs.converting import convert
from preimage.harness.verbs.examining import doctor
from preimage.harness.verbs.fetching import fetch
from preimage.harness.verbs.listing import list_, plugins, show
from preimage.harness.verbs.merging import merge
from preimage.harness.verbs.running import demo, run
from preimage.harness.verbs.scoring import scores, summarise
from preimage.harness.verbs.verifying import verify


class Verbs(click.Group):
    """The built-in verbs, and those of installed plug-ins, which are loaded when they are needed."""

    loaded = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            self._load()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._load()
        return super().list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            guess = f" Did you mean `preimage {close[0]}`?" if close else ""
            raise UsageError(f"there is no verb {args[0]!r}.{guess} Type `preimage --help` to see all of them")
        return super().resolve_command(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Raises DuplicateName for a verb that is taken."""
        verb = name or cmd.name or ""
        if verb in self.commands and self.commands[verb] is not cmd:
            raise DuplicateName(f"a plug-in adds the verb {verb!r}, which is taken. Rename it in the plug-in")
        super().add_command(cmd, name)

    def _load(self) -> None:
        if not self.loaded:
            self.loaded = True
            from preimage.harness.plugins import installed

            installed().add_commands(self)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="preimage")
def cli() -> None:
    """A benchmark harness for image generators: which images lie in a model's range, and whether it has memorised.

    \b
    Examples:
      preimage demo                                   the models that ship, a first look, the site
      preimage list models                            what is installed
      preimage run quick -m 'fashion-*'               a suite on some models
      preimage run -b recovery -m ppca --limit 200    one benchmark with its default options
      preimage scores --json                          every score with its interval
      preimage site OUT                               pages from the database
    """


for command in (
    check,
    compare,
    convert,
    demo,
    doctor,
    fetch,
    list_,
    merge,
    plugins,
    run,
    scores,
    show,
    summarise,
    verify,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors are told in words on stderr. Exits 0 done, 1 failed, 2 usage."""
    try:
        status = cli.main(args=arguments, prog_name="preimage", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("stopped; finished blocks are stored: type the same command again to go on", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PreimageError as error:
        click.echo(f"preimage: {error}", err=True)
        sys.exit(2 if isinstance(error, (UsageError, UnknownName)) else 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
