"""Folders over plain HTTP: what lies in them, as a JSON document or as links, sent while the store lists."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from html import escape
from itertools import chain, islice
from typing import NamedTuple, TypeAlias
from urllib.parse import quote

from zarrv3 import BaseStore
from zarrv3_serve.replies import Reply, headers, text
from zarrv3_serve.workers import Workers

BATCH = 500
"""How many names are asked for at once."""

Entry: TypeAlias = tuple[str, int | None]
"""A name within the folder, and the bytes of its value; a folder ends in `/` and has none."""


class Form(NamedTuple):
    """How a listing is written."""

    kind: str
    begin: Callable[[str], str]
    entry: Callable[[str, int | None], str]
    between: str
    end: str


JSON = Form(
    "application/json",
    lambda folder: f'{{"folder": {json.dumps(folder)}, "entries": [',
    lambda name, size: json.dumps({"name": name} | ({} if size is None else {"bytes": size})),
    ", ",
    "]}\n",
)
"""For programs that ask for it."""

LINKS = Form(
    "text/html; charset=utf-8",
    lambda folder: f"<!doctype html>\n<title>{escape(folder or '/')}</title>\n<ul>\n",
    lambda name, _: f'<li><a href="{quote(name)}">{escape(name)}</a></li>\n',
    "",
    "</ul>\n",
)
"""As web servers list folders: what fsspec, and so zarr-python and xarray, and rclone read."""


async def listing(store: BaseStore, workers: Workers, folder: str, form: Form) -> Reply:
    """The answer to GET of a folder."""
    if not await workers.run(lambda: store.capabilities.list):
        return text(501, "this store cannot list")
    entries = _entries(store, folder)
    first = await workers.run(next, entries, None)  # errors come before the answer begins
    if first is None and folder:
        return text(404, cache_control="no-cache")
    own = headers(
        content_type=form.kind, cache_control="no-cache", vary="Accept", content_security_policy="sandbox"
    )
    return Reply(200, own, _sent(workers, folder, chain([first or []], entries), form))


def is_folder(store: BaseStore, key: str) -> bool:
    """Whether anything lies below a key that is missing itself; names of chunks and documents are not looked at."""
    name = key.rpartition("/")[2]
    if name.startswith(".") or name.replace(".", "").isdecimal() or name == "zarr.json":
        return False
    return store.capabilities.list and next(iter(store.list_dir(f"{key}/")), None) is not None


def _entries(store: BaseStore, folder: str) -> Iterator[list[Entry]]:
    names = iter(store.list_dir(folder))
    while part := [*islice(names, BATCH)]:
        keys = [name for name in part if not name.endswith("/")]
        sizes = dict(zip(keys, store.stat_many(keys), strict=True))
        yield [
            (name[len(folder) :], sizes.get(name))
            for name in part
            if name.endswith("/") or sizes[name] is not None  # otherwise erased meanwhile
        ]


async def _sent(
    workers: Workers, folder: str, entries: Iterator[list[Entry]], form: Form
) -> AsyncIterator[bytes]:
    yield form.begin(folder).encode()
    between = ""
    while (part := await workers.run(next, entries, None)) is not None:
        if part:
            yield (between + form.between.join(form.entry(*entry) for entry in part)).encode()
            between = form.between
    yield form.end.encode()
