"""What a store has to do, as plain functions; neither pytest nor hypothesis is imported.

table     what a check is; `opened` and other small helpers of checks
running   `run_checks`: all checks against a live store, in a scratch folder of it
claims    capabilities: what is not claimed is refused; read-only stores
values    what goes in comes out: sizes of values, ownership of buffers
ranges    parts of values
batches   order, duplicates, empty and long batches
keys      odd, long and refused keys
listing   list_prefix, list_dir, sizes
erasing   erase_many, erase_prefix, rename_prefix
swapping  compare_and_set, alone and in races
life      reopening, pickling, equality, closing; reading never writes
sugar     the conveniences of every store object
crowds    threads and processes at once, killed writers, failing stores
transactions  many changes at once or not at all
"""

from zarrv3.testing.checks import (
    batches,
    claims,
    crowds,
    erasing,
    keys,
    life,
    listing,
    ranges,
    sugar,
    swapping,
    transactions,
    values,
)
from zarrv3.testing.checks.running import Result, run_checks
from zarrv3.testing.checks.table import TABLE, Check, Opener

_MODULES = (
    claims,
    values,
    ranges,
    batches,
    keys,
    listing,
    erasing,
    swapping,
    life,
    sugar,
    crowds,
    transactions,
)
_ORDER = {module.__name__: place for place, module in enumerate(_MODULES)}

TABLE.sort(key=lambda check: _ORDER[check.run.__module__])
CHECKS: tuple[Check, ...] = tuple(TABLE)
"""Every check, from the simple to the demanding."""

__all__ = [
    "CHECKS",
    "Check",
    "Opener",
    "Result",
    "batches",
    "claims",
    "crowds",
    "erasing",
    "keys",
    "life",
    "listing",
    "ranges",
    "run_checks",
    "sugar",
    "swapping",
    "transactions",
    "values",
]
