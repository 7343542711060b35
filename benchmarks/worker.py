"""A process that has one implementation and does one thing at a time: a command a line in, an answer a line out."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from peers import PEERS
from workloads import WORKLOADS, data, expected, selection


def main(name: str, shared: str) -> None:
    """Serve until the input ends.

    {"do": "write" | "read" | a selection, "workload": …, "path": …} → {"seconds": …}; what was read is compared with
    what was written, after the clock has stopped.
    """
    peer = PEERS[name]()
    print(json.dumps({"version": peer.version()}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        workload, path, action = WORKLOADS[command["workload"]], command["path"], command["do"]
        values = data(workload, Path(shared))
        if action == "write":
            shutil.rmtree(path, ignore_errors=True)
            started = time.perf_counter()
            peer.write(path, workload, values)
            seconds = time.perf_counter() - started
        else:
            chosen = None if action == "read" else selection(action, workload.shape)
            started = time.perf_counter()
            found = peer.read(path) if action == "read" else peer.select(path, action, chosen)
            seconds = time.perf_counter() - started
            if not np.array_equal(found, expected(action, values)):
                raise SystemExit(f"{name} reads other values than were written: {command}")
            del found
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
