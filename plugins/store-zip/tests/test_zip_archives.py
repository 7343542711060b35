"""Archives that other programs made, strange, hostile and damaged ones; in a file and in another store."""

import io
import struct
import subprocess
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrv3 import MemoryStore
from zarrv3.errors import CorruptDataError, StoreAccessError, ZarrError
from zarrv3.store.base import BaseStore
from zarrv3_store_zip import ZipReader, ZipStore

Opened = Callable[[bytes], BaseStore]


@pytest.fixture(params=["file", "value"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Opens the bytes of an archive, as a file or as a value of another store."""

    def as_file(archive: bytes) -> BaseStore:
        (tmp_path / "made.zip").write_bytes(archive)
        return ZipStore(tmp_path / "made.zip", mode="r")

    def as_value(archive: bytes) -> BaseStore:
        return ZipReader(MemoryStore({"made.zip": archive}), "made.zip")

    return as_file if request.param == "file" else as_value


def rewritten(archive: bytes, folder: Path) -> dict[str, bytes]:
    """What `zipfile` finds in an archive after a `ZipStore` has added `new` to it."""
    path = folder / "rewritten.zip"
    path.write_bytes(archive)
    with ZipStore(path) as store:
        store["new"] = b"new"
    with zipfile.ZipFile(path) as read:
        found = read.namelist()
        assert len(found) == len({*found})
        assert read.testzip() is None
        return {name: read.read(name) for name in found}


def made(*members: Any, **options: Any) -> bytes:
    """An archive of members, each the arguments of `writestr`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicate names
        for member in members:
            archive.writestr(*member)
    return buffer.getvalue()


class OneWay(io.BytesIO):
    """A file that cannot seek, as a pipe: archives written to it have data descriptors."""

    def seekable(self) -> bool:
        """No."""
        return False

    def seek(self, *_: int) -> int:
        """Impossible."""
        raise OSError("cannot seek")

    def tell(self) -> int:
        """Impossible."""
        raise OSError("cannot tell")


# ---------------------------------------------------------------- strange


def _descriptors() -> bytes:
    buffer = OneWay()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/k", b"value" * 100, zipfile.ZIP_DEFLATED)
        archive.writestr("a/l", b"stored")
    return buffer.getvalue()


def _of_folder() -> bytes:
    """As `zip -r a.zip ./` and `7z a a.zip folder/.` make them."""
    return made(("./", b""), ("./a/", b""), ("./a/k", b"value" * 100), ("a/l", b"stored"))


def _with_comments() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a/k")
        info.comment, info.extra = b"of the entry", struct.pack("<HH4s", 0xCAFE, 4, b"more")
        archive.writestr(info, b"value" * 100)
        archive.writestr("a/l", b"stored")
        archive.comment = b"PK\1\2" * 9000
    return buffer.getvalue()


def _with_zip64() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        with archive.open("a/k", "w", force_zip64=True) as file:
            file.write(b"value" * 100)
        archive.writestr("a/l", b"stored")
    return buffer.getvalue()


def _in_a_program() -> bytes:
    plain = made(("a/k", b"value" * 100), ("a/l", b"stored"))
    return b"#!/bin/sh\n" * 50 + plain


def _with_duplicates() -> bytes:
    return made(("a/k", b"old"), ("a/l", b"old"), ("a/k", b"value" * 100), ("a/l", b"stored"))


def _with_other_headers() -> bytes:
    """The header before the data has an extra field (as Info-ZIP's times) that the directory does not have, a long one."""
    plain = bytearray(made(("a/k", b"value" * 100), ("a/l", b"stored")))
    extra = struct.pack("<HH", 0xCAFE, 2000) + bytes(2000)
    plain[28:30] = struct.pack("<H", len(extra))
    plain[33:33] = extra
    directory = plain.index(b"PK\1\2")
    second = plain.index(b"PK\1\2", directory + 4)
    start = struct.unpack_from("<L", plain, second + 42)[0]
    struct.pack_into("<L", plain, second + 42, start + len(extra))
    struct.pack_into("<L", plain, len(plain) - 6, directory)
    return bytes(plain)


STRANGE = [
    _descriptors,
    _of_folder,
    _with_comments,
    _with_zip64,
    _in_a_program,
    _with_duplicates,
    _with_other_headers,
]


@pytest.mark.parametrize("make", STRANGE)
def test_strange_archives(make: Callable[[], bytes], opened: Opened, tmp_path: Path) -> None:
    """They read as they should, in whole and in parts, list as they should, and can be written to."""
    expected = {"a/k": b"value" * 100, "a/l": b"stored"}
    store = opened(make())
    assert store.get_partial_values([("a/k", (5, 7)), ("a/l", (-2, None))]) == [b"valueva", b"ed"]
    assert dict(store.items()) == expected
    assert [*store.list_dir("")] == ["a/"]
    assert sorted(store.list_dir("a/")) == ["a/k", "a/l"]
    assert rewritten(make(), tmp_path) == {**expected, "new": b"new"}


@pytest.mark.parametrize("method", [0, 8, 12, 14])
def test_every_method_is_read(method: int, opened: Opened, tmp_path: Path) -> None:
    """Stored, deflated, bzip2 and lzma members; empty ones too."""
    archive = made(("k", b"value" * 5000, method), ("empty", b"", method))
    store = opened(archive)
    assert store.get_partial_values([("k", (5, 5)), ("empty", None), ("k", None)]) == [
        b"value",
        b"",
        b"value" * 5000,
    ]
    assert store.capabilities.native_ranges is (method == 0 and isinstance(store, ZipStore))
    assert rewritten(archive, tmp_path) == {"k": b"value" * 5000, "empty": b"", "new": b"new"}


def test_names_in_old_and_new_letters(opened: Opened, tmp_path: Path) -> None:
    """Names with the flag are UTF-8, those without are of code page 437, as the format has it; both survive rewriting."""
    new = made(("café/日本", b"new letters"))
    old = made(("caf?/x", b"old letters")).replace(b"caf?", "café".encode("cp437"))
    assert dict(opened(new).items()) == {"café/日本": b"new letters"}
    assert dict(opened(old).items()) == {"café/x": b"old letters"}
    assert rewritten(old, tmp_path) == {"café/x": b"old letters", "new": b"new"}
    from_unix = made(("caf??/x", b"unmarked")).replace(b"caf??", "café".encode())
    assert dict(opened(from_unix).items()) == {"café/x": b"unmarked"}
    assert rewritten(from_unix, tmp_path) == {"café/x": b"unmarked", "new": b"new"}


def test_names_beside_the_name(opened: Opened, tmp_path: Path) -> None:
    """The extra field that holds a name in UTF-8 counts, as long as it belongs to the name."""
    for crc, expected in ((zlib.crc32(b"x"), "日本"), (0, "x")):
        info = zipfile.ZipInfo("x")
        body = b"\1" + crc.to_bytes(4, "little") + "日本".encode()
        info.extra = struct.pack("<HH", 0x7075, len(body)) + body
        archive = made((info, b"v")).replace(b"x" + info.extra, b"\x82" + info.extra)
        archive = (
            archive.replace(crc.to_bytes(4, "little"), zlib.crc32(b"\x82").to_bytes(4, "little"))
            if crc
            else archive
        )
        assert opened(archive).list() == [expected if crc else "é"]
        assert sorted(rewritten(archive, tmp_path)) == sorted([expected if crc else "é", "new"])


def test_an_empty_file(tmp_path: Path) -> None:
    """A file without a byte, as `tempfile` makes them, is an archive without entries."""
    (tmp_path / "a.zip").touch()
    with ZipStore(tmp_path / "a.zip") as store:
        assert store.list() == []
        store["k"] = b"v"
    assert ZipStore(tmp_path / "a.zip")["k"] == b"v"


# ---------------------------------------------------------------- hostile


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/passwd", "a//b", "a/./b", "..", "C:\\evil", "a\\..\\b", "/"]
)
def test_names_that_leave_the_root(name: str, opened: Opened) -> None:
    """An archive with such an entry is refused, by the name of the entry; a folder of such a name means nothing."""
    if name.endswith("/"):
        assert opened(made(("k", b"v"), (name, b""))).list() == ["k"]
        return
    with pytest.raises(StoreAccessError, match="entry") as found:
        opened(made(("k", b"v"), (name, b"evil"))).get("k")
    assert repr(name) in str(found.value)
    assert "made.zip" in str(found.value)


def test_encrypted_members(opened: Opened, tmp_path: Path) -> None:
    """An encrypted member is listed, and an error says what it is; the others are read; rewriting keeps it as it is."""
    archive = bytearray(made(("open", b"o"), ("secret", b"s" * 100)))
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        archive[archive.index(b"secret", archive.index(signature)) - (24 if place == 6 else 38)] |= 1
    store = opened(bytes(archive))
    assert sorted(store) == ["open", "secret"]
    assert store["open"] == b"o"
    for call in (lambda: store["secret"], lambda: store.get_partial_values([("secret", (1, 2))])):
        with pytest.raises(StoreAccessError, match=r"'secret' in .*made\.zip.* is encrypted"):
            call()
    path = tmp_path / "again.zip"
    path.write_bytes(archive)
    with ZipStore(path) as writing:
        writing["new"] = b"n"
    with zipfile.ZipFile(path) as read:
        assert read.getinfo("secret").flag_bits & 1


def test_unknown_methods(opened: Opened) -> None:
    """A method of compression that Python does not have is an error that names the key, the method and those it has."""
    archive = bytearray(made(("k", b"v" * 100)))
    archive[archive.index(b"PK\1\2") + 10] = 98
    with pytest.raises(StoreAccessError, match=r"'k' in .*method 98; stored, deflated, bzip2 and lzma"):
        opened(bytes(archive)).get("k")


@pytest.mark.parametrize("method", [8, 12, 14])
def test_bombs(method: int, opened: Opened) -> None:
    """A member that unpacks to more than it says is unpacked no further, and is an error."""
    import tracemalloc

    archive = bytearray(made(("k", bytes(10_000_000), method)))
    struct.pack_into("<L", archive, archive.index(b"PK\1\2") + 24, 1000)
    store = opened(bytes(archive))
    tracemalloc.start()
    with pytest.raises(CorruptDataError, match=r"'k' in .*length or checksum"):
        store.get("k")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


# ---------------------------------------------------------------- damaged


@pytest.mark.parametrize("method", [0, 8, 12, 14])
def test_damaged_data(method: int, opened: Opened) -> None:
    """A member whose data were changed is an error that names the key and the archive; the others are read."""
    value = bytes(range(256)) * 10
    archive = bytearray(made(("a/bad", value, method), ("good", b"g", method)))
    archive[60] ^= 0xFF
    store = opened(bytes(archive))
    assert store["good"] == b"g"
    with pytest.raises(CorruptDataError, match=r"'a/bad' in .*made\.zip"):
        store.get("a/bad")


def test_damaged_headers(opened: Opened) -> None:
    """A header that is not the member's is noticed, also where a range is read, which has no checksum."""
    archive = bytearray(made(("bad", bytes(100_000)), ("good", b"g")))
    archive[31] = ord("x")
    store = opened(bytes(archive))
    for wanted in (None, (5, 5)):
        with pytest.raises(CorruptDataError, match="'bad' does not begin where the directory of"):
            store.get_partial_values([("bad", wanted)])
    assert store["good"] == b"g"


@pytest.mark.parametrize(
    "archive", [b"hello" * 100, b"PK\3\4", made(("k", b"v" * 500))[:-40], b"\0" * 70_000]
)
def test_what_is_no_archive(archive: bytes, opened: Opened, tmp_path: Path) -> None:
    """What is not an archive, or was cut off, is an error for every call, and is not overwritten."""
    store = opened(archive)
    for call in (store.list, lambda: store.get("k"), lambda: [*store.list_dir("")]):
        with pytest.raises(StoreAccessError, match="cannot be read as a zip archive"):
            call()
    (tmp_path / "other.zip").write_bytes(archive)
    writing = ZipStore(tmp_path / "other.zip")
    with pytest.raises(StoreAccessError, match="cannot be read as a zip archive"):
        writing["k"] = b"v"
    writing.close()
    assert (tmp_path / "other.zip").read_bytes() == archive


def test_a_folder_where_an_archive_is_expected(tmp_path: Path) -> None:
    """A folder, and a path below a file, are errors that say so."""
    with pytest.raises(StoreAccessError, match="is a folder, not an archive; a folder opens as file://"):
        ZipStore(tmp_path).get("k")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreAccessError, match="cannot write 'k' in"):
        ZipStore(tmp_path / "file" / "a.zip")["k"] = b"v"


def _sample() -> tuple[bytes, dict[str, bytes]]:
    values = {f"a/{i}": zlib.crc32(b"%d" % i).to_bytes(4) * 60 for i in range(4)}
    return made(
        *((key, value, method) for (key, value), method in zip(values.items(), [0, 8, 12, 14], strict=True))
    ), values


SAMPLE, VALUES = _sample()


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=3),
    cut=st.one_of(st.none(), st.integers(0, len(SAMPLE))),
)
def test_whatever_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int | None
) -> None:
    """However an archive is damaged, a value is right, missing or our error; never wrong, and never another error."""
    archive = bytearray(SAMPLE)
    for place, byte in changes:
        archive[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "made.zip"
    path.write_bytes(archive[:cut])
    for store in (ZipStore(path, mode="r"), ZipReader(MemoryStore({"a": bytes(archive[:cut])}), "a")):
        for key, value in VALUES.items():
            try:
                assert store.get(key) in (None, value)
                store.get_partial_values([(key, (5, 10))])
            except ZarrError:
                pass


# ---------------------------------------------------------------- programs


def test_programs_read_what_we_write(tmp_path: Path) -> None:
    """`unzip`, where there is one, finds nothing to complain about and unpacks readable files; Python does everywhere."""
    with ZipStore(tmp_path / "a.zip", zipfile.ZIP_DEFLATED) as store:
        store.update({"a/é": b"value" * 100, "zarr.json": b"{}"})
        store.flush()
        store["zarr.json"] = b"{ }"
    try:
        done = subprocess.run(
            ["unzip", "-q", "a.zip", "-d", "out"], cwd=tmp_path, check=False, capture_output=True
        )
    except FileNotFoundError:
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            archive.extractall(tmp_path / "out")
    else:
        assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out" / "zarr.json").read_bytes() == b"{ }"
    assert (tmp_path / "out" / "zarr.json").stat().st_mode & 0o777 == 0o644
