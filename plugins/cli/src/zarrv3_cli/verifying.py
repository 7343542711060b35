"""`verify`: reading everything to find what is corrupt or missing."""

from typing import Annotated

import typer

from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options, Path, place
from zarrv3_cli.verification import Findings


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
    from zarrv3_cli import verification

    findings = Findings()
    here = place(url, option, path)
    with here.opener() as store, output.progress("verify", "chunks") as report:
        verification.verify(store, here.path, findings, complete=complete, report=report)
    problems = sorted(findings.problems, key=lambda problem: problem.key)
    if as_json:
        counts = {name: getattr(findings, name) for name in ("groups", "arrays", "chunks", "bytes")}
        output.document({**counts, "problems": [problem._asdict() for problem in problems]})
    else:
        if problems:
            output.table(["problem", "key", "what"], problems)
        output.line(
            f"{findings.groups} groups, {findings.arrays} arrays, {findings.chunks} chunks of {findings.bytes} bytes "
            f"read; {len(problems)} problems"
        )
    if problems:
        raise typer.Exit(1)
