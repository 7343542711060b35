"""The page's requests: its files, and the documents that its script asks for."""

import base64
import json
import math
from collections.abc import Callable
from functools import cache
from html import escape
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl

import zarrv3
from zarrv3 import BaseStore
from zarrv3.errors import NodeNotFoundError, SelectionError, ZarrError
from zarrv3_serve.page import nodes, pictures, slices
from zarrv3_serve.replies import Reply, document, headers, text

FOLDER = "__zarrv3__/"
"""What the page's requests begin with: no node may be called that."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {"css": "text/css", "js": "text/javascript", "html": "text/html"}
_FILES = ("page.css", "page.js")


@cache
def _file(name: str) -> bytes:
    return resources.files(__package__).joinpath("static", name).read_bytes()


def page(root: str) -> Reply:
    """The page, which asks for the rest; `root` is where the application is mounted."""
    body = _file("page.html").replace(b"{root}", escape(root, quote=True).encode())
    own = headers(
        content_security_policy=POLICY, referrer_policy="no-referrer", vary="Accept", cache_control="no-cache"
    )
    return Reply(200, [*headers(content_type="text/html; charset=utf-8"), *own], body)


def answer(store: BaseStore, name: str, query: bytes) -> Reply:
    """The answer to a request of the page. Calls the store, and so blocks."""
    if name in _FILES:
        kind = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
        return Reply(200, headers(content_type=kind, cache_control="no-cache"), _file(name))
    if name not in _DOCUMENTS:
        return text(404)
    try:
        return document(_finite(_DOCUMENTS[name](store, _asked(query))))
    except (NodeNotFoundError, SelectionError, _WrongError) as error:
        missing = isinstance(error, NodeNotFoundError)
        return text(404 if missing else 400, "there is no node at that path" if missing else str(error))
    except ZarrError as error:
        return document({"error": str(error)})


class _WrongError(Exception):
    """A request that makes no sense."""


def _asked(query: bytes) -> dict[str, str]:
    try:
        text = query.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=20, errors="strict"))
    except ValueError:
        raise _WrongError("the query of the URL cannot be read") from None


def _numbers(asked: dict[str, str], name: str) -> list[int]:
    try:
        return [int(part) for part in asked.get(name, "").split(",") if part]
    except ValueError:
        raise _WrongError(f"{name!r} is a list of numbers") from None


def _bound(asked: dict[str, str], name: str) -> float | None:
    try:
        found = float(asked[name]) if asked.get(name) else None
    except ValueError:
        raise _WrongError(f"{name!r} is a number") from None
    if found is not None and not math.isfinite(found):
        raise _WrongError(f"{name!r} is a finite number")
    return found


def _node(store: BaseStore, asked: dict[str, str]) -> dict[str, Any]:
    return nodes.describe(store, asked.get("path", ""), stored="stored" in asked)


def _value(store: BaseStore, asked: dict[str, str]) -> dict[str, Any]:
    index = tuple(_numbers(asked, "index"))
    return {"value": nodes.value(store, asked.get("path", ""), index, asked.get("field") or None)}


def _slice(store: BaseStore, asked: dict[str, str]) -> dict[str, Any]:
    """A plane as a picture, or as a table where its elements are not numbers."""
    array = zarrv3.open_array(store, mode="r", path=asked.get("path", ""))
    names = array.dtype.names
    field = (asked.get("field") or names[0]) if names else None
    if names and field not in names:
        raise _WrongError(f"the array has no field {field!r}")
    colours = asked.get("map") or "grey"
    if colours not in pictures.MAPS:
        raise _WrongError(f"there is no colour map {colours!r}")
    axes = _numbers(asked, "axes") or slices.axes_of(array.shape)
    edges = _numbers(asked, "window")
    windows = [*zip(edges[::2], edges[1::2], strict=False)]
    is_numeric = pictures.are_numbers(array.dtype[field] if field else array.dtype)
    most = (slices.PIXELS,) * 2 if is_numeric else slices.CELLS
    shown = slices.plane(array, axes, _numbers(asked, "at"), windows, most=most)
    values = slices.read(array, shown, field)
    said: dict[str, Any] = {
        "axes": [*shown.axes],
        "at": [*shown.at],
        "window": [[part.start, part.stop, part.step] for part in shown.window],
        "whole": shown.is_whole,
    }
    if not is_numeric:
        return {**said, "table": [[nodes.as_text(item) for item in row] for row in values]}
    drawn = pictures.scaled(pictures.numbers(values), _bound(asked, "low"), _bound(asked, "high"))
    picture = base64.b64encode(pictures.png(drawn.places, pictures.palette(colours))).decode()
    return {**said, "png": picture, "low": drawn.low, "high": drawn.high, "histogram": drawn.histogram}


def _finite(value: Any) -> Any:
    """A document without what JSON has no word for."""
    return json.loads(json.dumps(value, default=str), parse_constant=str)


_DOCUMENTS: dict[str, Callable[[BaseStore, dict[str, str]], dict[str, Any]]] = {
    "node": _node,
    "slice": _slice,
    "value": _value,
}
