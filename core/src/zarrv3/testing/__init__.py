"""The conformance kit: what a store has to do, as tests that a backend's author gets for one fixture.

conformance  `StoreConformance`, `LayerConformance`: the classes that an author's pytest class derives from
checks       the same as plain functions without pytest: `CHECKS`, `run_checks(opener)` for a live store
rules        the rules that checks name when they fail, and `ConformanceError`
machine      a hypothesis state machine: the store against a dict
processes    values that prove themselves whole, processes that write together, a writer that is killed
faults       `Faults`: a layer that fails on purpose

Importing this package imports neither pytest nor hypothesis; the classes are looked up on first use.
"""

from typing import TYPE_CHECKING, Any

from zarrv3.testing.checks import CHECKS, Check, Opener, Result, run_checks
from zarrv3.testing.faults import Faults
from zarrv3.testing.rules import ConformanceError, NotApplicableError

if TYPE_CHECKING:
    from zarrv3.testing.conformance import LayerConformance, StoreConformance

__all__ = [
    "CHECKS",
    "Check",
    "ConformanceError",
    "Faults",
    "LayerConformance",
    "NotApplicableError",
    "Opener",
    "Result",
    "StoreConformance",
    "run_checks",
]


def __getattr__(name: str) -> Any:
    """The classes that need pytest, imported when they are asked for."""
    if name in {"LayerConformance", "StoreConformance"}:
        from zarrv3.testing import conformance

        return getattr(conformance, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
