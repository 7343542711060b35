"""`check`: the conformance of a live store."""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from zarrv3_cli import output
from zarrv3_cli.arguments import AsJson, Location, Options
from zarrv3_cli.places import Place, place

OUTCOMES = {"passed": "passed", "failed": "failed", "skipped": "not applicable"}
"""What outcomes of the kit are called here."""


def check(
    url: Location,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Run only this check; may be repeated."),
    ] = None,
    option: Options = None,
    as_json: AsJson = False,
) -> None:
    """Check that a live store keeps the contract.

    This happens in a new folder of the store that is erased afterwards. What is claimed in the store's capabilities is checked; the rest is not applicable. Exit code 1 when a check failed.
    """
    from zarrv3.testing import run_checks

    here = place(url, option)
    wanted = _wanted(only)
    found: list[dict[str, Any]] = []
    with _scratch(here) as scratch:
        for result in run_checks(here.opener, scratch, wanted):
            found.append(
                {
                    "check": result.check.name,
                    "outcome": OUTCOMES[result.outcome],
                    "summary": result.check.summary,
                    "reason": result.reason,
                }
            )
            if not as_json:
                output.line(f"{OUTCOMES[result.outcome]:<14}  {' '.join(_words(found[-1]))}")
    counts = Counter(dict.fromkeys(OUTCOMES.values(), 0))
    counts.update(entry["outcome"] for entry in found)
    if as_json:
        output.document({"counts": dict(counts), "checks": found})
    else:
        output.line(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    if counts["failed"]:
        raise typer.Exit(1)


def _words(entry: dict[str, Any]) -> Iterator[str]:
    """A result for people: what had to be so, and why it is not."""
    yield f"{entry['check']}: {entry['summary']}"
    if entry["reason"]:
        yield f"[{' '.join(entry['reason'].split())}]"


def _wanted(names: list[str] | None) -> list[Any] | None:
    from zarrv3.testing import CHECKS

    if not names:
        return None
    known = {entry.name: entry for entry in CHECKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(
            f"no check is called {unknown[0]!r}; there are: {', '.join(known)}", param_hint="'--only'"
        )
    return [known[name] for name in names]


@contextmanager
def _scratch(place: Place) -> Iterator[str]:
    """The name of a folder that nobody else uses, erased at the end of the block however that ends."""
    name = f"zarrv3-check-{uuid.uuid4().hex[:12]}"
    folder = f"{place.path}/{name}" if place.path else name
    try:
        yield folder
    finally:
        with place.opener() as store:
            can = store.capabilities
            if can.write and can.erase:
                store.erase_prefix(f"{folder}/")
            elif can.write:
                output.note(f"zarrv3: {store.describe()} cannot erase: {folder!r} stays there")
