"""The conformance kit: what a store has to do, as tests that a backend's author gets for one fixture.

conformance  `StoreConformance`, `LayerConformance`, `InterruptConformance`: the classes that an author's pytest class derives from
codecs data_types grids transformers  the same for extensions of the format: `CodecConformance`, …
smoke        what is basically wrong with an extension, said once
checks       the same as plain functions without pytest: `CHECKS`, `run_checks(opener)` for a live store
rules        the rules that checks name when they fail, and `ConformanceError`
mutations    damaged and hostile documents, configurations and bytes, as strategies of hypothesis
machine      a hypothesis state machine: the store against a dict
processes    values that prove themselves whole, processes that write together, a writer that is killed
interrupts   a call interrupted at every point, one after the other
faults       `Faults`: a layer that fails on purpose
restarts     writers whose server dies and comes back
cutting      a web server whose answers get lost

Importing this package imports neither pytest nor hypothesis; the classes are looked up on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zarrv3.testing.checks import CHECKS, Check, Opener, Result, run_checks
from zarrv3.testing.faults import Faults
from zarrv3.testing.rules import ConformanceError, NotApplicableError

if TYPE_CHECKING:
    from zarrv3.testing.codecs import CodecConformance
    from zarrv3.testing.conformance import InterruptConformance, LayerConformance, StoreConformance
    from zarrv3.testing.data_types import DataTypeConformance
    from zarrv3.testing.grids import ChunkGridConformance, ChunkKeyEncodingConformance
    from zarrv3.testing.transformers import TransformerConformance

_LATE = {
    "ChunkGridConformance": "grids",
    "ChunkKeyEncodingConformance": "grids",
    "CodecConformance": "codecs",
    "DataTypeConformance": "data_types",
    "InterruptConformance": "conformance",
    "LayerConformance": "conformance",
    "StoreConformance": "conformance",
    "TransformerConformance": "transformers",
}

__all__ = [
    "CHECKS",
    "Check",
    "ChunkGridConformance",
    "ChunkKeyEncodingConformance",
    "CodecConformance",
    "ConformanceError",
    "DataTypeConformance",
    "Faults",
    "InterruptConformance",
    "LayerConformance",
    "NotApplicableError",
    "Opener",
    "Result",
    "StoreConformance",
    "TransformerConformance",
    "run_checks",
]


def __getattr__(name: str) -> Any:
    """The classes that need pytest, imported when they are asked for."""
    if name in _LATE:
        return getattr(import_module(f"zarrv3.testing.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
