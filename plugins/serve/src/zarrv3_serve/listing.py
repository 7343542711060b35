"""Folders over plain HTTP: what lies in them, as a JSON document that is sent while the store lists."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import chain, islice

from zarrv3 import BaseStore
from zarrv3_serve.replies import Reply, headers, text
from zarrv3_serve.workers import Workers

BATCH = 500
"""How many names are asked for at once."""


async def listing(store: BaseStore, workers: Workers, folder: str) -> Reply:
    """The answer to GET of a folder: `{"folder": …, "entries": [{"name": …, "bytes": …}, …]}`, folders without bytes."""
    if not await workers.run(lambda: store.capabilities.list):
        return text(501, "this store cannot list")
    entries = _entries(store, folder)
    first = await workers.run(next, entries, None)  # errors come before the answer begins
    if first is None and folder:
        return text(404, cache_control="no-cache")
    return Reply(
        200,
        headers(content_type="application/json", cache_control="no-cache", vary="Accept"),
        _sent(workers, folder, chain([first or []], entries)),
    )


def _entries(store: BaseStore, folder: str) -> Iterator[list[dict[str, object]]]:
    names = store.list_dir(folder)
    while part := [*islice(names, BATCH)]:
        keys = [name for name in part if not name.endswith("/")]
        sizes = dict(zip(keys, store.stat_many(keys), strict=True))
        yield [
            {"name": name[len(folder) :], "bytes": sizes[name]}
            if name in sizes
            else {"name": name[len(folder) :]}
            for name in part
            if name not in sizes or sizes[name] is not None  # otherwise erased meanwhile
        ]


async def _sent(
    workers: Workers, folder: str, entries: Iterator[list[dict[str, object]]]
) -> AsyncIterator[bytes]:
    yield f'{{"folder": {json.dumps(folder)}, "entries": ['.encode()
    comma = ""
    while (part := await workers.run(next, entries, None)) is not None:
        if part:
            yield (comma + ", ".join(map(json.dumps, part))).encode()
            comma = ", "
    yield b"]}\n"
