"""What a file that was taken for a folder is, by its first bytes, and what opens it.

It is not opened in this process: SQLite and LMDB lose their locks on a file when a process that has it open opens and closes
it once more.
"""

import os
import re
import stat

_MOST = 64

_REFERENCES = "make references to it with kerchunk or VirtualiZarr and open 'reference:///….json|zarr2:'"

# what it begins with, what it is, and the URL or advice that opens it
_KINDS = (
    (rb"SQLite format 3\x00", "an SQLite database", "sqlite:///{path}"),
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive", "zip://{path}"),
    (rb".{16}\xde\xc0\xef\xbe", "an LMDB database", "lmdb://{path}"),
    (rb"[\xce\xcf]\x9aW\x13", "a DBM database", "dbm://{path}"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF file", _REFERENCES),
    (rb"CDF[\x01\x02\x05]", "a NetCDF file", _REFERENCES),
    (rb"II\*\x00|MM\x00\*", "a TIFF file", _REFERENCES),
    (rb'\s*\{\s*"(version|refs|templates|\.z\w+)"', "a file of references", "reference://{path}|zarr2:"),
)
_DATA = "data.mdb"
"""What LMDB calls its file in a folder."""


def describe(path: str) -> str:
    """What to say of a path at which, or above which, a file is where a folder should be."""
    file = os.path.abspath(path)  # noqa: PTH100
    while not os.path.exists(file) and os.path.dirname(file) != file:  # noqa: PTH110, PTH120
        file = os.path.dirname(file)  # noqa: PTH120
    what, opening = _look(file)
    if what is None:
        return f"{file!r} is a file, not a folder; open an archive as 'file:///…/a.zip|zip:'"
    return f"{file!r} is {what}, not a folder; {opening if ' ' in opening else f'open it as {opening!r}'}"


def url_of(path: str) -> str | None:
    """The URL by which a file, or a folder of LMDB's, is a store; `None` where it is none that is known."""
    what, opening = _look(os.path.abspath(path))  # noqa: PTH100
    return None if what is None or " " in opening else opening


def _look(path: str) -> tuple[str | None, str]:
    data = os.path.join(path, _DATA)  # noqa: PTH118
    head, is_folder = _head(path), False
    if not head and os.path.isfile(data):  # noqa: PTH113
        head, is_folder = _head(data), True
    if not head and os.path.isfile(f"{path}.dir") and os.path.isfile(f"{path}.dat"):  # noqa: PTH113
        return "a DBM database", f"dbm://{_quoted(path)}"
    for mark, what, opening in _KINDS:
        if re.match(mark, head, re.DOTALL):
            place = path if is_folder or os.path.basename(path) != _DATA else os.path.dirname(path)  # noqa: PTH119, PTH120
            return what, opening.format(path=_quoted(place))
    return None, ""


def _quoted(path: str) -> str:
    from pathlib import Path
    from urllib.parse import quote

    return quote(Path(path).as_posix())


def _head(path: str) -> bytes:
    """The first bytes of a file, read by another process where closing it here could release locks."""
    import subprocess

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return b""
        if os.name == "nt":
            with open(path, "rb") as file:  # noqa: PTH123
                return file.read(_MOST)
        command = ["head", "-c", str(_MOST), "--", path]
        return subprocess.run(command, capture_output=True, check=False, timeout=10).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return b""
