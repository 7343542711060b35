"""Arrays, groups, reports and trees of zarrv3 as HTML, for notebooks: what their `_repr_html_` asks for.

Everything is drawn in the page's own colour, more or less of it, so that it suits light and dark pages alike; there is no script,
nothing that a page has to fetch, and no more than a few kilobytes of it. A store is only asked where a call costs no round trip, and
for little; if it fails then, the node is shown without what it would have told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import islice
from reprlib import Repr
from typing import TypeAlias

from zarrv3 import Array, Group
from zarrv3.errors import MetadataError, ZarrError, escaped
from zarrv3.format.cuts import Cut, count_of, describe, largest, start_of
from zarrv3.format.metadata import ArrayMetadata, GroupMetadata
from zarrv3.hierarchy import nodes
from zarrv3.hierarchy.display import MOST_SHOWN, Info, Tree, report
from zarrv3.options.urls import short_size
from zarrv3.store.base import BaseStore

LISTED, MEMBERS, ATTRIBUTES, TEXT, DEEP, OPEN = 1000, 50, 50, 300, 20, 30
"""How many keys are listed, members and attributes are shown, characters of a text, levels of a tree; how many nodes are unfolded."""

STYLE = """<style>
.zarrv3{font:13px/1.45 system-ui,sans-serif;color:inherit;text-align:left;margin:2px 0;max-width:74em}
.zarrv3 code{font:12px ui-monospace,Menlo,Consolas,monospace;color:inherit;background:none;padding:0;overflow-wrap:anywhere}
.zarrv3 .quiet,.zarrv3 th,.zarrv3 summary i{opacity:.68;font-style:normal;font-weight:400}
.zarrv3 .head{border-bottom:1px solid rgba(128,128,128,.45);padding-bottom:4px;margin-bottom:6px;overflow-wrap:anywhere}
.zarrv3 .both,.zarrv3 .both>div{display:flex;flex-wrap:wrap;gap:8px 28px;align-items:flex-start}
.zarrv3 .both>div{flex:1 1 230px}
.zarrv3 table{border:0;border-collapse:collapse;margin:0;table-layout:auto;font-size:inherit;color:inherit;width:auto;display:table}
.zarrv3 table tr,.zarrv3 table tr th,.zarrv3 table tr td{border:0;background:none!important;padding:1px 18px 1px 0;text-align:left!important;
vertical-align:top;color:inherit;max-width:42em;white-space:normal;overflow-wrap:anywhere;line-height:1.5}
.zarrv3 table tr th{white-space:nowrap}
.zarrv3 details{margin:3px 0 0}
.zarrv3 summary{cursor:pointer;display:list-item}
.zarrv3 details>table,.zarrv3 details>ul{margin:2px 0 4px 1.1em}
.zarrv3 ul{list-style:none!important;margin:0;padding:0!important}
.zarrv3 li{margin:0;padding:0}
.zarrv3 ul ul{margin-left:.35em;padding-left:.9em!important;border-left:1px solid rgba(128,128,128,.35)}
.zarrv3 li.leaf{padding-left:1em}
.zarrv3 svg{max-width:100%;height:auto;overflow:visible}
</style>"""

ACCENT = "#3b82f6"


def html(shown: Array | Group | Info | Tree) -> str:
    """What a notebook shows of a node, a report or a tree."""
    if isinstance(shown, Array):
        return _array(shown)
    if isinstance(shown, Group):
        return _page(shown, _members(shown) + _attributes(shown) + _more_lines(_lines(shown)))
    return _drawing(_tree(shown) if isinstance(shown, Tree) else table(shown))


def _array(array: Array) -> str:
    """What an array is, with a picture of its chunks, and what its report says beside."""
    metadata, layout = array.metadata, array.layout
    lines = _lines(array)
    kinds = [("Array", metadata.shape, 1), ("Chunk", layout.cuts, array.nchunks)]
    if layout.blocks is not None:
        count = math.prod(map(count_of, layout.stored, metadata.shape))
        kinds.insert(1, ("Shard", layout.stored, count))
    size = metadata.data_type.item_size
    rows = [["", *(name for name, _, _ in kinds)], ["Shape", *(describe(cuts) for _, cuts, _ in kinds)]]
    if size is not None:
        rows.append(["Bytes", *(short_size(math.prod(largest(cuts)) * size) for _, cuts, _ in kinds)])
    rows.append(["Count", *(f"{count:,}" for _, _, count in kinds)])
    for name in ("Dimension names", "Data type", "Fill value", "Codecs"):
        text = lines.pop(name, "None")
        rows += [] if text == "None" else [[name, text]]
    if stored := _stored(array):
        rows.append(["Stored", stored])
    body = f'<div class="both">{table(rows, len(kinds))}<div>{pictures(array)}</div></div>'
    return _page(array, body + _attributes(array) + _more_lines(lines))


def _more_lines(lines: dict[str, str]) -> str:
    return _fold("More", "", table(lines.items()))


def _drawing(body: str) -> str:
    return f'<div class="zarrv3">{STYLE}{body}</div>'


def table(rows: Iterable[Sequence[str]], columns: int = 1) -> str:
    """Rows of a heading and values; a single one is as wide as all columns."""

    def row(head: str, *cells: str) -> str:
        wide = f' colspan="{columns}"' if len(cells) < columns else ""
        tag = "td" if head else "th"
        return f"<tr><th>{_html(head)}</th>{''.join(f'<{tag}{wide}>{_html(cell)}</{tag}>' for cell in cells)}</tr>"

    return f"<table>{''.join(row(*texts) for texts in rows)}</table>"


def _html(text: str, most: int = TEXT) -> str:
    return escape(escaped(text if len(text) <= most else f"{text[:most]}…"))


def _page(node: Array | Group, body: str) -> str:
    kind = type(node).__name__
    where = f'<span class="quiet">in {_html(node.store.describe())}</span>'
    head = f'<div class="head"><b>zarrv3.{kind}</b> <code>{_html(node.name)}</code> {where}</div>'
    return _drawing(head + body)


def _fold(title: str, count: str, body: str, *, is_open: bool = False) -> str:
    note = f" <i>{count}</i>" if count else ""
    return f"<details{' open' * is_open}><summary>{title}{note}</summary>{body}</details>"


_SHOWN = {"Name", "Type", "Shape", "Shard shape", "Chunk shape", "No. bytes", "Filter", "Compressor"}


def _lines(node: Array | Group) -> dict[str, str]:
    """What a report says and is not shown otherwise; nothing where the store cannot say what it can do."""
    try:
        known = report(node, complete=True, stored=False)
        return {name: text for name, text in known if name not in _SHOWN}
    except ZarrError:
        return {}


def _attributes(node: Array | Group) -> str:
    attributes = node.metadata.attributes
    if not attributes:
        return ""
    brief = Repr()
    brief.maxlist = brief.maxdict = brief.maxtuple = 20
    brief.maxstring = brief.maxother = brief.maxlong = TEXT
    rows = [
        (name, value if isinstance(value, str) else brief.repr(value))
        for name, value in islice(attributes.items(), ATTRIBUTES)
    ]
    return _fold(
        "Attributes",
        f"{len(attributes):,}",
        table(rows) + _more(len(attributes) - len(rows)),
        is_open=len(rows) <= 8,
    )


def _more(count: int) -> str:
    return f'<div class="quiet">… {count:,} more</div>' if count > 0 else ""


def _stored(array: Array) -> str:
    """How much of an array is stored, where it costs little to know."""
    try:
        if not (array.store.capabilities.list and array.store.capabilities.local):
            return ""
        found = [*islice(array.store.list_sizes(array.layout.folder), LISTED + 1)]
    except ZarrError:
        return ""
    size = sum(size for _, size in found)
    if len(found) > LISTED:
        return f"more than {short_size(size)}"
    count = sum(array.layout.coords(key) is not None for key, _ in found)
    noun = "chunks" if array.layout.blocks is None else "shards"
    total = math.prod(map(count_of, array.layout.stored, array.shape))
    return f"{short_size(size)}, {count:,} of {total:,} {noun}"


# ---------------------------------------------------------------- members


def _first(
    store: BaseStore, path: str, most: int, listed: int | None = None
) -> tuple[list[tuple[str, nodes.Metadata | MetadataError]], int]:
    """`nodes.children`, at most so many of them, and how many folders more there are; of these at most so many are `listed`."""
    below = nodes.folders(store, path, listed)
    found = nodes.look(store, [nodes.folder_of(path) + name for name in below[:most]])
    pairs = [(name, one) for name, one in zip(below, found, strict=False) if one is not None]
    return pairs, len(below[most:])


def _members(group: Group) -> str:
    """What a group holds, as far as that is known without asking a server."""
    store, path = group.store, group.path
    try:
        is_known = store.snapshot(nodes.document_key(path)) is not None
        if not is_known and not (store.capabilities.list and store.capabilities.local):
            return '<div class="quiet">what it holds is told by group.tree() and group.info, which ask the store</div>'
        found, more = _first(store, path, MEMBERS, LISTED)
    except ZarrError as error:
        return f'<div class="quiet">its members cannot be listed: {_html(str(error))}</div>'
    items = "".join(f'<li class="leaf">{_entry(name, metadata)}</li>' for name, metadata in found)
    total = len(found) + more
    count = f"{total:,}" if total < LISTED - 1 else f"{total:,} or more"  # one key is the group's own
    return _fold("Members", count, f"<ul>{items}</ul>{_more(more)}", is_open=True)


def _entry(name: str, metadata: nodes.Metadata | MetadataError) -> str:
    if isinstance(metadata, ArrayMetadata):
        names = metadata.dimension_names or (None,) * len(metadata.shape)
        axes = (
            str(n) if name is None else f"{name}: {n}" for name, n in zip(names, metadata.shape, strict=True)
        )
        note = f"({', '.join(axes)}) {metadata.data_type.describe()}"
    else:
        note = "group" if isinstance(metadata, GroupMetadata) else "unreadable"
    return f'<code>{_html(name)}</code> <span class="quiet">{_html(note)}</span>'


def _tree(tree: Tree) -> str:
    """At most `MOST_SHOWN` nodes of what lies below a group; groups fold."""
    store, drawn = tree.group.store, 0

    def below(path: str, level: int | None, depth: int) -> Iterator[str]:
        nonlocal drawn
        if depth >= DEEP or (level is not None and level <= 0):
            return
        found, more = _first(store, path, max(0, min(MOST_SHOWN // 5, MOST_SHOWN - drawn)))
        drawn += len(found)
        yield "<ul>"
        for name, metadata in found:
            inside = ""
            if isinstance(metadata, GroupMetadata):
                fewer = None if level is None else level - 1
                is_open = drawn <= OPEN
                inside = "".join(below(nodes.folder_of(path) + name, fewer, depth + 1))
            if inside:
                yield f"<li><details{' open' * is_open}><summary>{_entry(name, metadata)}</summary>{inside}</details></li>"
            else:
                yield f'<li class="leaf">{_entry(name, metadata)}</li>'
        yield f"</ul>{_more(more)}"

    inside = "".join(below(tree.group.path, tree.level, 0))
    return _fold(f"<code>{_html(tree.group.name)}</code>", "", inside, is_open=True)


# ---------------------------------------------------------------- pictures of chunks

SIDE, LINES, THIN = 150, 32, 26
"""The pixels of the longest side, the most lines along a side, the pixels of one that is no dimension."""

Point: TypeAlias = tuple[float, float, float]
"""A place in a picture: away from the eye, downwards, to the right."""

DEPTH = (0.55, -0.38)
"""How far right and down a pixel of the third dimension goes."""


def pictures(array: Array) -> str:
    """How an array lies in chunks, three dimensions a picture; in shards, how a shard lies in chunks, where that cannot be seen."""
    shape, layout = array.shape, array.layout
    if not math.prod(shape):
        return ""
    names = array.dimension_names or (None,) * len(shape)
    labels = [
        f"{n:,}" if name is None else f"{_brief(name)}: {n:,}" for name, n in zip(names, shape, strict=True)
    ]
    finer = layout.cuts
    is_fine = max(map(count_of, finer, shape), default=1) <= LINES
    drawn = _drawn(shape, layout.stored, finer if is_fine else layout.stored, labels)
    if not is_fine and layout.blocks is not None:
        shard = tuple(map(min, largest(layout.stored), shape))
        parts = _drawn(shard, finer, finer, [f"{n:,}" for n in shard])
        drawn += f'<div><div class="quiet">a shard</div>{parts}</div>'
    return drawn


def _brief(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _drawn(shape: Sequence[int], coarse: Sequence[Cut], fine: Sequence[Cut], labels: Sequence[str]) -> str:
    """The last three dimensions in one picture, and those before in others."""
    first = (len(shape) - 1) % 3 + 1 if shape else 0
    stops = [*range(first, len(shape) + 1, 3)][-3:] if shape else [0]
    parts = [slice(max(0, stop - 3), stop) for stop in stops]
    more = len(shape) > 9
    drawn = "".join(_cube(shape[one], coarse[one], fine[one], labels[one]) for one in parts)
    return ('<span class="quiet">…</span>' if more else "") + drawn


def _pixels(length: int, longest: int) -> float:
    return SIDE * max(0.18, math.sqrt(length / longest))


def _places(cut: Cut, extent: int, pixels: float) -> list[float]:
    """Where the chunks of a dimension begin and the last one ends; of very many, that of some."""
    count = count_of(cut, extent)
    some = range(0, count, -(-count // LINES))
    return [*(min(start_of(cut, chunk), extent) / extent * pixels for chunk in some), pixels]


def _cube(shape: Sequence[int], coarse: Sequence[Cut], fine: Sequence[Cut], labels: Sequence[str]) -> str:
    """Up to three dimensions: the last to the right, the one before downwards, the one before that away from the eye."""
    absent = 3 - len(shape)
    sides = [0.0, THIN, THIN][:absent] + [_pixels(length, max(shape)) for length in shape]
    rough, thin = (
        [*([0.0, side] for side in sides[:absent]), *map(_places, cuts, shape, sides[absent:])]
        for cuts in (coarse, fine)
    )
    texts = ["", "", ""][:absent] + [_html(label) for label in labels]
    deep, high, wide = sides
    room = [4 + 3.3 * len(label) for label in ["", "", "", *labels][-3:]]  # on both sides of the middle
    left = max(20 if texts[1] else 2, room[2] - wide / 2)
    top = max(3 - DEPTH[1] * deep, room[1] - high / 2)

    def at(d: float, h: float, w: float) -> str:
        return f"{left + w + DEPTH[0] * d:.1f} {top + h + DEPTH[1] * d:.1f}"

    def face(*corners: Point) -> str:
        return f"M{'L'.join(at(*corner) for corner in corners)}Z"

    def lines(places: list[list[float]]) -> str:
        away, down, right = places
        ends: list[tuple[Point, ...]] = [((0, h, 0), (0, h, wide), (deep, h, wide)) for h in down]
        ends += [((0, high, w), (0, 0, w), (deep, 0, w)) for w in right]
        ends += [((d, 0, 0), (d, 0, wide), (d, high, wide)) for d in away if deep]
        return "".join(f"M{'L'.join(at(*point) for point in line)}" for line in ends)

    def box(d: float, h: float, w: float, opacity: float) -> str:
        """The box of that size whose corner is the nearest upper left one; what faces right is seen at the edge only."""
        seen = [face((0, 0, 0), (0, 0, w), (0, h, w), (0, h, 0))]
        if d:
            seen.append(face((0, 0, 0), (0, 0, w), (d, 0, w), (d, 0, 0)))
            seen += [face((0, 0, w), (d, 0, w), (d, h, w), (0, h, w))] if w == wide else []
        shades = zip(seen, (1.0, 0.7, 1.5), strict=False)
        return "".join(
            f'<path d="{d}" fill="{ACCENT}" fill-opacity="{opacity * shade:.2f}"/>' for d, shade in shades
        )

    def stroke(places: list[list[float]], width: float, opacity: float) -> str:
        return (
            f'<path d="{lines(places)}" fill="none" stroke="currentColor" stroke-width="{width}" '
            f'stroke-opacity="{opacity}" stroke-linejoin="round"/>'
        )

    def text(label: str, x: float, y: float, more: str) -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{label}</text>' if label else ""

    middle, bottom, right = top + high / 2, top + high, left + wide + DEPTH[0] * deep
    width = max(right + (2 * room[0] if deep else 4), left + wide / 2 + room[2])
    height = max(bottom + 20, middle + room[1])
    edges = [[0.0, side] for side in sides]
    chunk = [places[1] if side else 0.0 for places, side in zip(thin, sides, strict=True)]
    parts = [
        box(deep, high, wide, 0.16),
        box(chunk[0], chunk[1], chunk[2], 0.5),
        stroke(thin, 0.6, 0.45) if thin != rough else "",
        stroke(rough, 1.1 if thin != rough else 0.7, 0.75),
        stroke(edges, 1.4, 0.95),
        text(texts[2], left + wide / 2, bottom + 15, 'text-anchor="middle"'),
        text(
            texts[1],
            left - 6,
            middle,
            f'text-anchor="middle" transform="rotate(-90 {left - 6:.1f} {middle:.1f})"',
        ),
        text(texts[0], (left + wide + right) / 2 + 6, bottom + DEPTH[1] * deep / 2 + 10, ""),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="chunks" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-size="11" fill="currentColor">{"".join(parts)}</svg>'
    )
