"""A process that has one implementation and writes or reads the array of one chain at a time."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from codec_chains import CHAIN_PEERS, CHAINS, data


def spent() -> float:
    """The processors' seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(name: str, shared: str) -> None:
    """Serve until the input ends: {"do": "write" | "read", "chain": …, "path": …} → {"seconds": …, "cpu": …}."""
    peer = CHAIN_PEERS[name]()
    print(json.dumps({"version": peer.version()}), flush=True)
    known: tuple[str, np.ndarray] | None = None
    for line in sys.stdin:
        command = json.loads(line)
        chain, path = CHAINS[command["chain"]], command["path"]
        if known is None or known[0] != command["chain"]:
            known = command["chain"], data(chain, Path(shared))
        values, found = known[1], None
        if command["do"] == "write":
            shutil.rmtree(path, ignore_errors=True)
        cpu, started = spent(), time.perf_counter()
        if command["do"] == "write":
            peer.write_chain(path, chain, values)
        else:
            found = peer.read(path)
        answer = {"seconds": time.perf_counter() - started, "cpu": spent() - cpu}
        if found is not None and not np.array_equal(found, values):
            raise SystemExit(f"{name} reads other values than were written: {command}")
        del found
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
