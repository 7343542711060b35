"""`new-plugin`: a plugin of one's own."""

import os
from pathlib import Path
from typing import Annotated

import typer

from zarrv3_cli import output, template


def new_plugin(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The URL scheme, such as my-store.", show_default=False)
    ],
    into: Annotated[
        str | None,
        typer.Option(
            "--into", metavar="FOLDER", help="Where; by default ./zarrv3-store-NAME.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the project of a new store, to be changed into yours.

    It is a package that can be installed and whose tests pass.
    """
    short = template.checked(name)
    target = Path(into or f"zarrv3-store-{short}")
    for file in template.write(short, target):
        output.line(os.fspath(target / file))
    output.note(f'next: pip install -e "{target}[testing]" && pytest {target}')
