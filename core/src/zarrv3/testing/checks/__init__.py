"""What a store has to do, as plain functions; neither pytest nor hypothesis is imported.

table     what a check is; `opened` and other small helpers of checks
running   `run_checks`: all checks against a live store, in a scratch folder of it
basics    what everything else rests on
claims    capabilities: what is not claimed is refused; read-only stores
values    what goes in comes out: sizes of values, ownership of buffers
ranges    parts of values
batches   order, duplicates, empty and long batches
keys      odd, long and refused keys
listing   list_prefix, list_dir, list_sizes, stat_many; all ways of reading agree
erasing   erasing keys and folders, moving folders
swapping  get_versioned and swap_many, alone and in races
options   what a store was made with, in configurations and URLs
life      reopening, pickling, equality, closing; reading never writes
sugar     the conveniences of every store object
crowds    threads and processes at once, killed writers, failing stores
transactions  many changes at once or not at all
interrupts  interrupted calls, forks of a process at work
"""

from zarrv3.testing.checks import (
    basics,
    batches,
    claims,
    crowds,
    erasing,
    interrupts,
    keys,
    life,
    listing,
    options,
    ranges,
    sugar,
    swapping,
    transactions,
    values,
)
from zarrv3.testing.checks.running import Result, run_checks
from zarrv3.testing.checks.table import TABLE, Check, Opener

_MODULES = (
    basics,
    claims,
    values,
    ranges,
    batches,
    keys,
    listing,
    options,
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
"""Every check, from the simple to the demanding, but for those of `interrupts`."""

__all__ = [
    "CHECKS",
    "Check",
    "Opener",
    "Result",
    "basics",
    "batches",
    "claims",
    "crowds",
    "erasing",
    "interrupts",
    "keys",
    "life",
    "listing",
    "options",
    "ranges",
    "run_checks",
    "sugar",
    "swapping",
    "transactions",
    "values",
]
