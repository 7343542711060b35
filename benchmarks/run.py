"""All measurements: `python benchmarks/run.py [speed | patterns | backends | latency | cloud | memory | growth | startup] [options]`.

Without a name all are made, one after the other, with their default options.
"""

from __future__ import annotations

import sys
from importlib import import_module

MEASUREMENTS = ("speed", "patterns", "backends", "latency", "cloud", "memory", "growth", "startup")


def main(arguments: list[str]) -> None:
    """Make one measurement, or all."""
    if not arguments:
        for name in MEASUREMENTS:
            import_module(name).main([])
    elif arguments[0] in MEASUREMENTS:
        import_module(arguments[0]).main(arguments[1:])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
