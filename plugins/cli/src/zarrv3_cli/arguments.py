"""What all commands take."""

from typing import Annotated

import typer

from zarrv3_cli import completing

Location = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="A store's URL or a folder's path.",
        show_default=False,
        autocompletion=completing.locations,
    ),
]
Path = Annotated[
    str,
    typer.Option(
        "--path",
        "-p",
        metavar="PATH",
        help="A node within the store.",
        show_default=False,
        autocompletion=completing.paths,
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="KEY=VALUE",
        help="An option of the store; may be repeated.",
        autocompletion=completing.options,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document.")]
