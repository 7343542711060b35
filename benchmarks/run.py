"""All measurements: `run.py [NAME] [options]`, where the name is one of `MEASUREMENTS`.

Without a name all are made, one after the other, with their default options.
"""

from __future__ import annotations

import sys
from importlib import import_module

MEASUREMENTS = (
    "speed",
    "patterns",
    "codecs",
    "backends",
    "latency",
    "cloud",
    "rechunking",
    "memory",
    "growth",
    "startup",
)


MODULES = {"codecs": "codec_speed"}
"""Where a measurement cannot have its own name: Python has a module `codecs`."""


def main(arguments: list[str]) -> None:
    """Make one measurement, or all."""
    if not arguments:
        for name in MEASUREMENTS:
            import_module(MODULES.get(name, name)).main([])
    elif arguments[0] in MEASUREMENTS:
        name, *rest = arguments
        import_module(MODULES.get(name, name)).main(rest)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
