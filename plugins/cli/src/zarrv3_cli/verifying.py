"""`verify`: reading everything to find what is corrupt or missing."""

from typing import Annotated

import typer

import zarrv3
from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options, Path
from zarrv3_cli.places import place


def verify(
    url: Location,
    path: Path = "",
    complete: Annotated[
        bool,
        typer.Option(
            "--complete", help="Every chunk has to be stored; else a missing one is the fill value."
        ),
    ] = False,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Read everything, and report what is corrupt or missing.

    Every document and chunk at and below a node is read and decoded. The exit code is 1 when something is wrong.
    """
    here = place(url, option, path)
    with here.opener() as store, output.progress("verify", "chunks") as progress:
        report = zarrv3.verify(store, here.path, complete=complete, progress=progress)
    if as_json:
        counts = {name: getattr(report, name) for name in ("groups", "arrays", "chunks", "bytes")}
        output.document({**counts, "problems": [problem._asdict() for problem in report.problems]})
    else:
        if report.problems:
            output.table(["problem", "key", "what"], report.problems)
        output.line(
            f"{output.counted(groups=report.groups, arrays=report.arrays, chunks=report.chunks)} of "
            f"{output.counted(bytes=report.bytes)} read; {output.counted(problems=len(report.problems))}"
        )
    if report.problems:
        raise typer.Exit(1)
