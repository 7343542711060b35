"""`ping`: whether a server answers and lets us in."""

from time import perf_counter
from typing import Annotated

import typer

from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options
from zarrv3_cli.places import place


def ping(
    url: Location,
    within: Annotated[
        float, typer.Option("--within", metavar="SECONDS", min=0.0, help="How long to wait for an answer.")
    ] = 5.0,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether a store's server answers, and lets us in.

    One byte is asked for, past caches and without trying again; nothing is written. Exit code 1 if it does not.
    """
    store = place(url, option).opener()
    started = perf_counter()
    store.ping(
        within
    )  # closing might wait for a server that does not answer, and so is left to the end of the process
    seconds = perf_counter() - started
    if as_json:
        output.document({"store": store.describe(), "seconds": seconds})
    else:
        output.line(f"{store.describe()} answers in {1000 * seconds:.3g} ms")
    store.close()
