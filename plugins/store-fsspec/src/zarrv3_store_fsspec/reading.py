"""Which byte ranges are asked for, and what the answers mean.

Ranges of one file that lie close together are fetched as one. An answer that is not as long as the requested
range is not trusted: the file may end there, or the server may not support ranges. (A server that does not,
and whose whole value is exactly as long as a range that reaches behind its end, cannot be told from one that
does.)
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from zarrv3.store.contract import ByteRange
from zarrv3.store.helpers import resolve

GAP = 1 << 16
"""Ranges with at most this many unwanted bytes between them are fetched as one."""

MOST = 1 << 24
"""Ranges are joined up to this many bytes: pieces of that size are better fetched in parallel."""

Answer: TypeAlias = bytes | Exception | None
"""The result of a read: bytes, `None` for a missing file, or a failure."""

_END = sys.maxsize

CERTAIN = (PermissionError, TimeoutError, ConnectionError)
"""Failures unrelated to where a value ends."""


class Part(NamedTuple):
    """A range of a file; `None` is the whole file."""

    path: str
    wanted: ByteRange | None


class Readable(Protocol):
    """What reading needs from the access to files."""

    exact: bool
    """Whether a short answer is certain to be the end of the file."""
    suffixes: bool
    """Whether the last bytes can be asked for without knowing the size."""

    def read(self, parts: Sequence[Part], /) -> Sequence[Answer]:
        """All parts at once, those of a file of one version; a range starts at 0 or later and is not empty, or it is a suffix."""
        ...

    def sizes(self, paths: Collection[str], /) -> Sequence[int | None]:
        """The sizes of some files at once; `None` where there is none."""
        ...


def read_all(files: Readable, parts: Sequence[Part]) -> list[bytes | None]:
    """Exactly these parts, in order, `None` where there is no file: usually by one `read`.

    Ranges that depend on the size (`value[:-3]`, empty ones) cost one more batch, of `sizes`.
    """
    whole = {part.path for part in parts if part.wanted in {None, ByteRange()}}
    ranges = {part: part.wanted for part in parts if part.path not in whole and part.wanted is not None}
    known, located = _located(files, ranges)
    spans = joined(located)
    asked = [*(Part(path, None) for path in dict.fromkeys(p.path for p in parts) if path in whole)]
    asked += dict.fromkeys(spans.values())
    answers = dict(zip(asked, files.read(asked), strict=True)) if asked else {}
    doubtful = [
        span for span in dict.fromkeys(spans.values()) if is_doubtful(span, answers[span], exact=files.exact)
    ]
    if doubtful:
        _settle(files, doubtful, answers)
    return [
        known[part]
        if part in known
        else _cut(located.get(part, part.wanted), spans.get(part, Part(part.path, None)), answers)
        for part in parts
    ]


def joined(located: dict[Part, ByteRange]) -> dict[Part, Part]:
    """For each part the range of its file in which it is fetched."""
    spans: dict[Part, Part] = {}
    by_path: dict[str, list[tuple[ByteRange, Part]]] = {}
    for part, wanted in located.items():
        if wanted.start < 0:
            spans[part] = Part(part.path, wanted)
        else:
            by_path.setdefault(part.path, []).append((wanted, part))
    for path, wanteds in by_path.items():
        for span, members in _groups(sorted(wanteds, key=lambda pair: pair[0].start)):
            spans.update(dict.fromkeys(members, Part(path, span)))
    return spans


def range_header(wanted: ByteRange) -> str:
    """The header `Range` for a range that starts at 0 or later and is not empty, or is a suffix."""
    start, stop = wanted
    return f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"


def is_doubtful(span: Part, answer: Answer, *, exact: bool) -> bool:
    """Whether an answer can only be understood with the size of the file."""
    if answer is None or span.wanted is None or isinstance(answer, CERTAIN):
        return False
    if isinstance(answer, Exception):  # perhaps because the range begins behind the end
        return True
    start, stop = span.wanted
    if stop is None and start >= 0:
        return False
    length = -start if stop is None else stop - start
    return len(answer) > length or (len(answer) < length and not exact)


def _located(
    files: Readable, ranges: dict[Part, ByteRange]
) -> tuple[dict[Part, bytes | None], dict[Part, ByteRange]]:
    """The parts that are known without reading, and the ranges to read."""
    unclear = [
        *dict.fromkeys(part.path for part, wanted in ranges.items() if not _is_plain(wanted, files.suffixes))
    ]
    sizes = dict(zip(unclear, files.sizes(unclear), strict=True)) if unclear else {}
    known: dict[Part, bytes | None] = {}
    located: dict[Part, ByteRange] = {}
    for part, wanted in ranges.items():
        if part.path not in sizes:
            located[part] = wanted
            continue
        size = sizes[part.path]
        start, length = resolve(wanted, size or 0)
        if size is None or not length:
            known[part] = None if size is None else b""
        else:
            located[part] = ByteRange(start, start + length)
    return known, located


def _is_plain(wanted: ByteRange, suffixes: bool) -> bool:
    start, stop = wanted
    return (start >= 0 or suffixes) if stop is None else 0 <= start < stop


def _groups(wanteds: Iterable[tuple[ByteRange, Part]]) -> Iterable[tuple[ByteRange, list[Part]]]:
    start, stop = 0, 0
    members: list[Part] = []
    for wanted, part in wanteds:
        end = _END if wanted.stop is None else wanted.stop
        near = wanted.start <= stop + GAP and max(stop, end) - start <= MOST
        if members and (end <= stop or near):
            stop = max(stop, end)
            members.append(part)
            continue
        if members:
            yield ByteRange(start, None if stop == _END else stop), members
        start, stop, members = wanted.start, end, [part]
    if members:
        yield ByteRange(start, None if stop == _END else stop), members


def _settle(files: Readable, doubtful: Sequence[Part], answers: dict[Part, Answer]) -> None:
    """Replace doubtful answers: by what the size allows, or by the range cut out of the whole value."""
    paths = [*dict.fromkeys(span.path for span in doubtful)]
    sizes = dict(zip(paths, files.sizes(paths), strict=True))
    refetch: list[Part] = []
    for span in doubtful:
        answer, size = answers[span], sizes[span.path]
        length = resolve(span.wanted, size or 0)[1]
        if size is None:
            answers[span] = None
        elif length == 0:
            answers[span] = b""
        elif isinstance(answer, NotImplementedError) or (  # obstore has no ranges without an end
            not isinstance(answer, Exception) and len(answer or b"") != length
        ):
            refetch.append(span)
    whole = [*dict.fromkeys(span.path for span in refetch)]
    values = dict(zip(whole, files.read([Part(path, None) for path in whole]), strict=True)) if whole else {}
    for span in answers:  # all of the file, which may be another one by now
        if span.path in values:
            value = values[span.path]
            answers[span] = value[slice(*(span.wanted or (None,)))] if isinstance(value, bytes) else value


def _cut(wanted: ByteRange | None, span: Part, answers: dict[Part, Answer]) -> bytes | None:
    """A part of what was fetched."""
    answer = answers[span]
    if isinstance(answer, Exception):
        raise answer
    if answer is None or wanted is None or span.wanted == wanted:
        return answer
    offset = span.wanted.start if span.wanted is not None else 0
    return answer[wanted.start - offset : None if wanted.stop is None else wanted.stop - offset]
