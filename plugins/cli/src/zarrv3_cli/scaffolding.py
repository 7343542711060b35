"""`new-plugin`: a plugin of one's own."""

import os
from pathlib import Path
from typing import Annotated

import typer

from zarrv3_cli import completing, output, template


def new_plugin(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="The URL scheme, or the name in metadata, such as my-store.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="store, layer, codec or transformer.",
            autocompletion=completing.own_kinds,
        ),
    ] = "store",
    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="FOLDER", help="Where; by default ./zarrv3-KIND-NAME.", show_default=False
        ),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option(
            "--author",
            metavar="NAME",
            help="The author; by default the one that git knows.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            metavar="URL",
            help="Where the project will be; by default on GitHub.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the project of a new plugin, for you to change into yours.

    It is a package that can be installed and whose tests pass, with a licence and a workflow that runs them.
    """
    wanted = kind.strip().lower().removesuffix("s").removeprefix("storage").strip(" -_")
    if wanted not in template.KINDS:
        raise typer.BadParameter(
            f"there is no template of a {kind!r}, but of: {', '.join(template.KINDS)}", param_hint="'--kind'"
        )
    short = template.checked(name, wanted)
    by = template.author(f"zarrv3-{wanted}-{short}", author, url)
    target = Path(into or f"zarrv3-{wanted}-{short}")
    for file in template.write(short, target, by, wanted):
        output.line(os.fspath(target / file))
    output.note(f'next: pip install -e "{target}[testing]" && pytest {target}; it will be at {by.url}')
