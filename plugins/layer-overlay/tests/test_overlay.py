"""What an overlay promises beyond the contract: the base stays, erasures stay, and where both may lie."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    LimitError,
    ReadOnlyError,
    StoreUnavailableError,
    UnsupportedError,
)
from zarrv3.layers.base import Layer
from zarrv3.layers.counting import Counting
from zarrv3.store.contract import Buffer, ByteRange, Capabilities, Limits, Request, Versioned
from zarrv3.store.memory import MemoryDriver, MemoryStore
from zarrv3.store.places import overlap
from zarrv3.store.wrapping import DriverStore
from zarrv3_layer_overlay import OverlayLayer
from zarrv3_layer_overlay.marks import ANY, ERASED, FOLDER, SIZE, THROUGH

CONTENT = {"zarr.json": b"{}", "a/zarr.json": b"{}", "a/c/0": b"zero", "a/c/1": b"one", "b/zarr.json": b"[]"}


@pytest.fixture
def base() -> MemoryStore:
    """What was published."""
    return MemoryStore(dict(CONTENT))


@pytest.fixture
def top() -> MemoryStore:
    """What is changed lies here."""
    return MemoryStore()


@pytest.fixture
def overlay(top: MemoryStore, base: MemoryStore) -> OverlayLayer:
    """The one over the other."""
    return OverlayLayer(top, base=base)


def published(folder: Path) -> str:
    """A hierarchy in a folder, as a URL."""
    group = zarrv3.create_group(str(folder), attributes={"by": "others"})
    group.create_array("x", data=np.arange(12), chunks=3)
    group.create_array("y", data=np.ones(4))
    return folder.as_uri()


# ---------------------------------------------------------------- reading and writing


def test_reads_fall_through_and_writes_stay_on_top(
    overlay: OverlayLayer, top: MemoryStore, base: MemoryStore
) -> None:
    """What is on top is read from there, all else from the base, by whatever method; the base stays as it was."""
    overlay.write_many({"a/c/0": b"mine", "new": b"n"})
    assert dict(overlay.items()) == {**CONTENT, "a/c/0": b"mine", "new": b"n"}
    assert dict(overlay.list_sizes("a/")) == {"a/zarr.json": 2, "a/c/0": 4, "a/c/1": 3}
    assert sorted(overlay.list_dir("")) == ["a/", "b/", "new", "zarr.json"]
    assert overlay.get_partial_values([("a/c/1", (-2, None)), ("a/c/0", (0, 1))]) == [b"ne", b"m"]
    assert [*overlay.stat_many(["a/c/1", "none", "a/c/0"])] == [3, None, 4]
    assert dict(top.items()) == {"a/c/0": b"mine", "new": b"n"}
    assert dict(base.items()) == CONTENT


def test_erasing_what_the_base_has(overlay: OverlayLayer, top: MemoryStore, base: MemoryStore) -> None:
    """An erased key of the base is marked on top; one that only the top had leaves nothing; both can be written again."""
    overlay["mine"] = b"m"
    overlay.delitems(["a/c/0", "mine", "none"])
    assert dict(top.items()) == {"a/c/0": ERASED, ANY: b""}
    assert dict(overlay.items()) == {key: value for key, value in CONTENT.items() if key != "a/c/0"}
    assert "a/c/0" not in overlay
    assert sorted(overlay.list_dir("a/c/")) == ["a/c/1"]
    overlay["a/c/0"] = b"again"
    assert dict(top.items()) == {"a/c/0": b"again", ANY: b""}
    del overlay["a/c/0"]
    del overlay["a/c/1"]
    assert sorted(overlay.list_dir("a/")) == ["a/zarr.json"]
    assert dict(base.items()) == CONTENT


def test_erasing_a_folder_is_one_mark(base: MemoryStore) -> None:
    """However much the base has in a folder, it is erased by one mark, and what is written later is seen alone."""
    base.write_many({f"a/c/{i}": b"x" for i in range(1000)})
    top = Counting(MemoryStore())
    overlay = OverlayLayer(top, base=base)
    overlay["a/c/5"] = b"mine"
    top.reset()
    overlay.erase_prefix("a/")
    assert dict(top.items()) == {"a/__overlay/erased": b"", ANY: b""}
    assert sum(top.calls.values()) < 12
    assert overlay.list() == ["zarr.json", "b/zarr.json"]
    overlay["a/c/7"] = b"later"
    assert [*overlay.list_prefix("a/")] == ["a/c/7"]
    assert overlay.getitems(["a/c/6", "a/c/7"]) == {"a/c/7": b"later"}
    overlay.clear()
    assert overlay.list() == []
    assert sorted(top) == ["__overlay/any", "__overlay/erased"]
    assert overlay.get("zarr.json") is None


def test_a_value_of_the_base_is_swapped(overlay: OverlayLayer, base: MemoryStore) -> None:
    """A value of the base has a version that is the same for every instance; once somebody has changed it, it is refused."""
    other = OverlayLayer(overlay.inner, base=base)
    keys = ["a/c/0", "a/c/1", "none"]
    found = dict(zip(keys, overlay.get_versioned(keys), strict=True))
    assert [*found.values()] == [*other.get_versioned(keys)]
    assert overlay.get_versioned(["b/zarr.json"])[0][1] != overlay.get_versioned(["zarr.json"])[0][1]
    assert not other.swap_many({"a/c/0": (found["a/c/0"][1], b"theirs")})
    swaps = {key: (version, b"mine") for key, (_, version) in found.items()}
    assert [*overlay.swap_many(swaps)] == ["a/c/0"]
    assert overlay.getitems(keys) == {"a/c/0": b"theirs", "a/c/1": b"mine", "none": b"mine"}
    assert {*other.swap_many(dict.fromkeys([*keys, "b/zarr.json"], (None, b"")))} == {*keys, "b/zarr.json"}
    assert dict(base.items()) == CONTENT


def test_a_swap_from_an_older_base_is_refused(overlay: OverlayLayer, base: MemoryStore) -> None:
    """Where the base itself has changed since its value was read, nothing made from the old one is written."""
    ((_, version),) = overlay.get_versioned(["a/c/0"])
    base["a/c/0"] = b"published again"
    assert [*overlay.swap_many({"a/c/0": (version, b"mine")})] == ["a/c/0"]
    assert overlay["a/c/0"] == b"published again"
    assert overlay.stat_many(["a/c/0"]) == [15]
    assert dict(overlay.list_sizes("a/c/")) == {"a/c/0": 15, "a/c/1": 3}
    ((_, version),) = overlay.get_versioned(["a/c/0"])
    assert not overlay.swap_many({"a/c/0": (version, None)})
    assert overlay.get("a/c/0") is None


@pytest.mark.parametrize("how", ["erase", "erase_prefix", "write", "rename"])
def test_a_swap_of_what_is_changed_in_between(
    how: str, overlay: OverlayLayer, top: MemoryStore, base: MemoryStore
) -> None:
    """Whatever somebody does to a key of the base while it is swapped, at any moment: one of the two is refused or later."""

    def change() -> None:
        if how == "erase":
            overlay.delitems(["a/c/0"])
        elif how == "erase_prefix":
            overlay.erase_prefix("a/")
        elif how == "write":
            overlay["a/c/0"] = b"theirs"
        else:
            overlay.rename_prefix("a/", "moved/")

    for moment in range(4):
        top.clear()
        ((_, version),) = overlay.get_versioned(["a/c/0"])
        between = Between(top, moment, change)
        refused = OverlayLayer(between, base=base).swap_many({"a/c/0": (version, b"mine")})
        assert between.calls >= 3 or refused
        now = overlay.get("a/c/0")
        if moment < 3 and between.calls > moment:
            assert refused, moment
        assert now == (b"theirs" if how == "write" else None) or not refused or between.calls <= moment


class Between(Layer):
    """Does something before a call of a certain number."""

    kind = "between"

    def __init__(self, store: object, moment: int, change: Callable[[], None]) -> None:
        super().__init__(store)
        self.moment, self.change, self.calls = moment, change, 0

    def _count(self) -> None:
        if self.calls == self.moment:
            self.change()
        self.calls += 1

    def get_many(self, requests: Sequence[Request], /) -> Sequence[Buffer | None]:
        """As the contract says."""
        self._count()
        return self.inner.get_many(requests)

    def stat_many(self, keys: Sequence[str], /) -> Sequence[int | None]:
        """As the contract says."""
        self._count()
        return self.inner.stat_many(keys)

    def get_versioned(self, keys: Sequence[str], /) -> Sequence[Versioned]:
        """As the contract says."""
        self._count()
        return self.inner.get_versioned(keys)

    def write_many(self, changes: Any, /) -> None:
        """As the contract says."""
        self._count()
        self.inner.write_many(changes)

    def swap_many(self, swaps: Any, /) -> Any:
        """As the contract says."""
        self._count()
        return self.inner.swap_many(swaps)

    def apply_many(self, changes: Any, /) -> None:
        """As the contract says."""
        self._count()
        self.inner.apply_many(changes)


def test_a_read_among_erasures_never_shows_the_base_behind_a_value(
    top: MemoryStore, base: MemoryStore
) -> None:
    """While a folder is erased, a key that had a value on top is that value or missing, never again what the base has."""
    overlay = OverlayLayer(top, base=base)
    for moment in range(1, 4):
        top.clear()
        overlay["a/c/0"] = b"mine"
        top.write_many(
            {"a/c/0": None}
        )  # as if it had just been taken away by who erases, whose mark comes before
        reader = OverlayLayer(Between(top, moment, lambda: overlay.erase_prefix("a/")), base=base)
        found = reader.get("a/c/0")
        assert found in {None, b"zero"}
        assert overlay.get("a/c/0") == (None if moment < 2 else overlay.get("a/c/0"))
    overlay.erase_prefix("a/")
    overlay["a/c/0"] = b"later"
    reader = OverlayLayer(Between(top, 1, lambda: overlay.erase_prefix("a/")), base=base)
    assert reader.getitems(["a/c/0", "a/c/1"]) == {"a/c/0": b"later"}


def test_the_base_is_never_written(overlay: OverlayLayer) -> None:
    """The base is open for reading only, whatever was given."""
    with pytest.raises(ReadOnlyError):
        overlay.base["k"] = b"v"
    assert not overlay.base.capabilities.write


class Away(MemoryStore):
    """A store that cannot be reached."""

    kind = "away"

    @property
    def driver(self) -> Any:
        """Nothing answers."""
        raise StoreUnavailableError("cannot read 'a/c/0' in the base: connection refused")


def test_a_base_that_cannot_be_reached_is_an_error(top: MemoryStore) -> None:
    """What only the base would know is an error while it is away, not missing; nothing is written meanwhile."""
    top["mine"] = b"m"
    overlay = OverlayLayer(top, base=Away())
    calls: list[Callable[[], object]] = [
        lambda: overlay.get("a/c/0"),
        lambda: "a/c/0" in overlay,
        lambda: [*overlay.list_prefix("")],
        lambda: [*overlay.list_dir("")],
        lambda: [*overlay.list_sizes("")],
        lambda: overlay.delitems(["mine"]),
        lambda: overlay.erase_prefix("a/"),
        lambda: overlay.rename_prefix("a/", "b/"),
        lambda: overlay.swap_many({"a/c/0": (None, b"v")}),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailableError, match="connection refused"):
            call()
    assert dict(top.items()) == {"mine": b"m"}
    assert OverlayLayer(top, base=Away())["mine"] == b"m"


# ---------------------------------------------------------------- marks


@pytest.mark.parametrize(
    "key", ["__overlay", "__overlay/any", "a/__overlay/erased", "a/__overlay", "a/__overlay/x/y"]
)
def test_names_of_marks_are_refused(key: str, overlay: OverlayLayer, top: MemoryStore) -> None:
    """The names that an overlay needs can be neither written nor read, as keys or as folders; no others are refused."""
    calls: list[Callable[[], object]] = [
        lambda: overlay.write_many({"fine": b"", key: b"v"}),
        lambda: overlay.get(key),
        lambda: overlay.stat_many([key]),
        lambda: overlay.swap_many({key: (None, b"v")}),
        lambda: overlay.get_versioned([key]),
        lambda: overlay.apply_many({key: b"v"}),
        lambda: overlay.erase_prefix(f"{key}/"),
        lambda: overlay.rename_prefix("a/", f"{key}/"),
    ]
    for call in calls:
        with pytest.raises(InvalidKeyError, match="__overlay"):
            call()
    assert dict(top.items()) == {}
    like = {
        key.replace("__overlay", name): b"v" for name in ("__overlay2", "x__overlay", "_overlay", "__Overlay")
    }
    overlay.write_many(like)
    assert overlay.getitems([*like]) == like
    overlay.delitems(like)
    assert not {*like} & {*overlay}


@pytest.mark.parametrize("mark", [ERASED, THROUGH])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_values_that_are_marks_are_refused(
    mark: bytes, kind: Any, overlay: OverlayLayer, top: MemoryStore
) -> None:
    """A value that would be taken for a mark is refused by every way of writing; one that is longer or shorter is stored."""
    for call in (overlay.write_many, overlay.apply_many):
        with pytest.raises(InvalidKeyError, match="'k'"):
            call({"j": b"", "k": kind(mark)})
    with pytest.raises(InvalidKeyError, match="'k'"):
        overlay.swap_many({"k": (None, kind(mark))})
    assert dict(top.items()) == {}
    near = {"more": mark + b"\n", "less": mark[:-1], "other": mark[:-1] + b"!"}
    overlay.write_many(near)
    assert overlay.getitems([*near]) == near
    assert dict(overlay.list_sizes("")) == {key: len(value) for key, value in {**CONTENT, **near}.items()}


@pytest.mark.parametrize(
    "wanted", [ByteRange(0, 0), ByteRange(3, 9), ByteRange(-1), ByteRange(60), ByteRange(0, 51)]
)
def test_pieces_of_marks_are_not_taken_for_values(
    wanted: ByteRange, overlay: OverlayLayer, top: MemoryStore
) -> None:
    """A range of an erased key is missing, of a key with a place held it is the base's, and like a mark's it is the value's."""
    value = ERASED + b"and more"
    overlay.delitems(["a/c/0"])
    top["a/c/1"] = THROUGH
    overlay["mine"] = value
    requests = [Request(key, wanted) for key in ("a/c/0", "a/c/1", "mine", "zarr.json", "mine")]
    piece = slice(wanted.start, wanted.stop)
    assert [*overlay.get_many(requests)] == [None, b"one"[piece], value[piece], b"{}"[piece], value[piece]]


def test_a_base_with_names_of_marks(top: MemoryStore, base: MemoryStore) -> None:
    """What the base has under names of marks is not shown: it is another overlay's, seen without its base."""
    base.write_many({"a/__overlay/erased": b"", "__overlay/any": b""})
    overlay = OverlayLayer(top, base=base)
    assert sorted(overlay) == sorted(CONTENT)
    assert dict(overlay.list_sizes("")) == {key: len(value) for key, value in CONTENT.items()}
    assert sorted(overlay.list_dir("a/")) == ["a/c/", "a/zarr.json"]
    assert overlay["a/c/0"] == b"zero"


def test_long_keys_have_room_for_marks(base: MemoryStore) -> None:
    """Keys are so short that each folder can be marked; a longer one is refused before anything is written."""
    driver = MemoryDriver({})
    driver.capabilities = Capabilities(write=True, erase=True, list=True, limits=Limits(key_bytes=40))
    overlay = OverlayLayer(DriverStore(driver), base=base)
    most = overlay.capabilities.limits.key_bytes or 0
    assert most == 40 - len(FOLDER)
    overlay["x" * (most - 2) + "/k"] = b"v"
    base["x" * (most - 2) + "/l"] = b"v"
    overlay.erase_prefix("x" * (most - 2) + "/")
    assert sorted(overlay) == sorted(CONTENT)
    with pytest.raises(LimitError, match="shorter"):
        overlay["é" * most] = b"v"


# ---------------------------------------------------------------- whole folders


def test_renaming_what_the_base_has(overlay: OverlayLayer, top: MemoryStore, base: MemoryStore) -> None:
    """A folder of which the base has some is copied, and erased by one mark; it can go back, over what was erased there."""
    overlay["a/c/0"] = b"mine"
    overlay.rename("a", "moved")
    expected = {"zarr.json": b"{}", "b/zarr.json": b"[]"}
    expected |= {"moved/zarr.json": b"{}", "moved/c/0": b"mine", "moved/c/1": b"one"}
    assert dict(overlay.items()) == expected
    assert [key for key in top if key.startswith("a/")] == ["a/__overlay/erased"]
    overlay.rename("moved", "a")
    assert dict(overlay.items()) == {**CONTENT, "a/c/0": b"mine"}
    assert dict(base.items()) == CONTENT


def test_renaming_what_is_only_on_top_copies_nothing(base: MemoryStore) -> None:
    """A folder that the base does not have is moved by the store on top."""
    counting = Counting(MemoryStore())
    overlay = OverlayLayer(counting, base=base)
    overlay.update({"new/zarr.json": b"{}", "new/c/0": b"0"})
    counting.reset()
    overlay.rename_prefix("new/", "newer/")
    assert counting.calls["rename_prefix"] == 1
    assert not counting.bytes_written


@pytest.mark.parametrize("target", ["a/", ""])
def test_replacing_a_node_of_the_base_is_one_step(target: str, base: MemoryStore) -> None:
    """What takes the place of a folder of the base does so in one rename: a reader sees the old or the new."""
    top = MemoryStore()
    overlay = OverlayLayer(top, base=base)
    assert overlay.capabilities.replace
    overlay["a/c/1"] = b"mine"
    overlay.update({f"{target}__new-1/node/zarr.json": b"new", f"{target}__new-1/node/c/7": b"7"})
    before = {key: value for key, value in overlay.items() if "__new-1" not in key}
    seen = []

    class Watched(Layer):
        kind = "watched"

        def rename_prefix(self, source: str, target: str, /) -> None:
            seen.append(dict(OverlayLayer(top, base=base).items()))
            self.inner.rename_prefix(source, target)

    OverlayLayer(Watched(top), base=base).rename_prefix(f"{target}__new-1/node/", target)
    assert [{key: value for key, value in one.items() if "__new-1" not in key} for one in seen] == [before]
    outside = {key: value for key, value in CONTENT.items() if not key.startswith(target)}
    assert dict(overlay.items()) == {**outside, f"{target}zarr.json": b"new", f"{target}c/7": b"7"}
    fresh = OverlayLayer(top, base=base)
    assert dict(fresh.items()) == dict(overlay.items())
    fresh.delitems([f"{target}c/7"])
    assert [*fresh.list_dir(target)] == [f"{target}zarr.json"]


def test_nothing_is_replaced_by_nothing(overlay: OverlayLayer, top: MemoryStore) -> None:
    """Where nothing is below the source, nothing happens to the target."""
    overlay.rename_prefix("a/__new/node/", "a/")
    overlay.rename_prefix("none/", "other/")
    assert dict(overlay.items()) == CONTENT
    assert dict(top.items()) == {}


def test_arrays_over_a_published_hierarchy(tmp_path: Path) -> None:
    """Arrays and groups of a folder are changed, replaced, moved and erased on top, over and over; the folder stays."""
    url = published(tmp_path / "published")
    before = {path: path.read_bytes() for path in (tmp_path / "published").rglob("*") if path.is_file()}
    mine = f"{(tmp_path / 'mine').as_uri()}|overlay:base={url}"
    group = zarrv3.open_group(mine, mode="r+")
    group["x"][4] = 40  # type: ignore[index]
    group["x"].attrs["mine"] = True
    assert group["x"][...].tolist() == [0, 1, 2, 3, 40, *range(5, 12)]  # type: ignore[index]
    group.create_array("y", data=np.zeros((2, 2)), overwrite=True)
    assert group["y"][...].tolist() == [[0, 0], [0, 0]]  # type: ignore[index]
    group.create_array("z", data=np.arange(3))
    group.move("x", "moved")
    assert sorted(group) == ["moved", "y", "z"]
    array = group["moved"]
    array.append(np.array([99]))  # type: ignore[union-attr]
    assert array[-3:].tolist() == [10, 11, 99]  # type: ignore[index]
    del group["y"]
    again = zarrv3.open_group(mine, mode="r")
    assert sorted(again) == ["moved", "z"]
    assert again.attrs["by"] == "others"
    assert again["moved"].attrs["mine"] is True
    zarrv3.create_group(mine, overwrite=True)
    assert sorted(zarrv3.open_group(mine, mode="r")) == []
    assert before == {
        path: path.read_bytes() for path in (tmp_path / "published").rglob("*") if path.is_file()
    }


def test_copying_flattens_and_knows_the_base(tmp_path: Path) -> None:
    """A copy of an overlay has everything in itself; into its own base it is refused while that would be erased."""
    url = published(tmp_path / "published")
    mine = f"{(tmp_path / 'mine').as_uri()}|overlay:base={url}"
    zarrv3.open_array(mine, path="x", mode="r+")[:3] = 7
    del zarrv3.open_group(mine, mode="r+")["y"]
    flat = tmp_path / "flat"
    zarrv3.copy(mine, str(flat), verify=True)
    copy = zarrv3.open_group(str(flat), mode="r")
    assert [*copy] == ["x"]
    assert copy["x"][...].tolist() == [7, 7, 7, *range(3, 12)]  # type: ignore[index]
    assert not [path for path in flat.rglob("*") if "__overlay" in path.parts]
    store = zarrv3.open_store(mine)
    assert overlap(store, "", zarrv3.open_store(url), "", probe=False)
    assert overlap(zarrv3.Prefix(store, "x"), "", zarrv3.open_store(url), "x/", probe=False)
    assert not overlap(store, "", zarrv3.open_store(str(flat)), "", probe=False)
    with pytest.raises(zarrv3.errors.ZarrError):
        zarrv3.copy(mine, url, overwrite=True)
    assert zarrv3.open_array(url, path="x")[:3].tolist() == [0, 1, 2]


def test_consolidated_metadata_of_the_base(tmp_path: Path) -> None:
    """Consolidated metadata of the base serve reading; after a change on top they are written there, and the base stays."""
    url = published(tmp_path / "published")
    zarrv3.consolidate_metadata(url)
    mine = f"{(tmp_path / 'mine').as_uri()}|overlay:base={url}"
    assert sorted(zarrv3.open_group(mine, mode="r", use_consolidated=True)) == ["x", "y"]
    group = zarrv3.open_group(mine, mode="r+", use_consolidated=False)
    with pytest.warns(zarrv3.errors.StaleMetadataWarning):
        group.create_array("z", data=np.arange(2))
    zarrv3.consolidate_metadata(mine)
    assert sorted(zarrv3.open_group(mine, mode="r", use_consolidated=True)) == ["x", "y", "z"]
    assert sorted(zarrv3.open_group(url, mode="r", use_consolidated=True)) == ["x", "y"]


# ---------------------------------------------------------------- where both lie


def test_base_and_top_lie_apart(tmp_path: Path) -> None:
    """A base that is the store on top, lies in it or has it inside is refused at once, through links too."""
    (tmp_path / "data" / "inside").mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    for top, base in [("data", "data"), ("data", "link"), ("data/inside", "data"), ("data", "data/inside")]:
        with pytest.raises(ConfigurationError, match="a place of its own"):
            zarrv3.open_store(f"file://{tmp_path}/{top}|overlay:base=file://{tmp_path}/{base}")
    with pytest.raises(ConfigurationError, match="a place of its own"):
        OverlayLayer(MemoryStore(name="overlay-one"), base="memory://overlay-one|lru-cache:")
    assert OverlayLayer(MemoryStore(name="overlay-one"), base="memory://overlay-two").list() == []
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "inside", "link"]


def test_places_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a place is in a variable that is not set yet, both are compared when the base is first used."""
    store = zarrv3.open_store(f"file://{tmp_path}/data|overlay:base=file://{tmp_path}/${{OVERLAY_BASE}}")
    monkeypatch.setenv("OVERLAY_BASE", "data")
    with pytest.raises(ConfigurationError, match="a place of its own"):
        store.get("k")
    whole = zarrv3.open_store(
        {"store": "memory", "layers": [{"layer": "overlay", "base": "${OVERLAY_BASE}"}]}
    )
    monkeypatch.delenv("OVERLAY_BASE")
    with pytest.raises(ConfigurationError, match="OVERLAY_BASE"):
        whole.get("k")
    monkeypatch.setenv("OVERLAY_BASE", f"file://{tmp_path}/base")
    zarrv3.open_store(f"{tmp_path}/base")["k"] = b"v"
    assert whole["k"] == b"v"


def test_overlays_do_not_lie_on_each_other(base: MemoryStore) -> None:
    """An overlay on top of another is refused with what to write instead, which works."""
    low, middle = {"k": b"low", "l": b"low"}, MemoryStore({"k": b"middle"})
    with pytest.raises(ConfigurationError, match="%7C"):
        OverlayLayer(zarrv3.Prefix(OverlayLayer(middle, base=low), "a"), base=base)
    stack = OverlayLayer(MemoryStore(), base=OverlayLayer(middle, base=low))
    assert dict(stack.items()) == {"k": b"middle", "l": b"low"}
    stack.clear()
    assert stack.list() == []
    assert dict(middle.items()) == {"k": b"middle"}


def test_a_store_on_top_that_is_read_only(base: MemoryStore) -> None:
    """Over a store that cannot be written both are read, and nothing is erased."""
    overlay = OverlayLayer(zarrv3.ReadOnly(MemoryStore({"mine": b"m"})), base=base)
    assert sorted(overlay) == sorted([*CONTENT, "mine"])
    with pytest.raises(ReadOnlyError):
        overlay.erase_prefix("a/")


def test_a_base_that_cannot_list(top: MemoryStore) -> None:
    """Over a base that cannot list, folders are erased by a mark all the same; listing is refused by name."""
    driver = MemoryDriver(dict(CONTENT))
    driver.capabilities = Capabilities(shared=True, persistent=True)
    overlay = OverlayLayer(top, base=DriverStore(driver))
    assert not overlay.capabilities.list
    assert not overlay.capabilities.replace
    overlay["a/c/1"] = b"mine"
    overlay.erase_prefix("a/")
    assert overlay.getitems([*CONTENT]) == {"zarr.json": b"{}", "b/zarr.json": b"[]"}
    with pytest.raises(UnsupportedError):
        [*overlay.list_prefix("")]


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("base=memory://over", "MemoryStore('over')"),
        ("base=memory%3A%2F%2Fover", "MemoryStore('over')"),
        ("?base=memory://over", "MemoryStore('over')"),
        ("?base=memory%3A%2F%2Fover%7Cprefix%3Aa%2520b", "Prefix(prefix='a b') on MemoryStore('over')"),
        ("base=memory://over%7Cprefix:a%20b", "Prefix(prefix='a b') on MemoryStore('over')"),
        (
            "base=memory://o%2Fver%7cprefix:a%7Clru-cache:?max_size=1KiB",
            "on Prefix(prefix='a') on MemoryStore('o%2Fver')",
        ),
        ("base=memory://over?dimension_separator=/", "MemoryStore('over')"),
        ("base=memory://x%7Coverlay:base=memory://y%257Cprefix:a%25257Cb", "MemoryStore('x')"),
    ],
)
def test_urls(text: str, expected: str) -> None:
    """The base in a URL is written as it is, with `%7C` for the `|` of its layers, or encoded as any value of an option."""
    with zarrv3.open_store(f"memory://url-top|overlay:{text}") as store:
        assert isinstance(store, OverlayLayer)
        assert expected in store.base.describe()
        assert zarrv3.open_store(json.loads(json.dumps(store.spec()))) == store
        if "257C" in text:
            inner: Any = store.base
            assert inner.inner.base.inner.describe() == "Prefix(prefix='a|b') on MemoryStore('y')"


def test_the_base_as_a_path_a_configuration_and_a_store(tmp_path: Path) -> None:
    """A base is whatever opens a store; the specs of all of them open it again, and copies by pickle have it."""
    zarrv3.open_store(tmp_path / "base 100%")["k"] = b"v"
    path = tmp_path / "base 100%"
    named = {"store": "directory", "path": str(path), "layers": [{"layer": "prefix", "prefix": "x"}]}
    for base, key in [(path, "k"), (str(path), "k"), (named, "none"), (zarrv3.open_store(path), "k")]:
        overlay = OverlayLayer(MemoryStore(name="overlay-paths"), base=base)
        assert overlay.get(key) == (b"v" if key == "k" else None)
        assert zarrv3.open_store(json.loads(json.dumps(overlay.spec()))) == overlay
        assert pickle.loads(pickle.dumps(overlay)).get(key) == overlay.get(key)
    quoted = str(path).replace("%", "%25").replace(" ", "%20")
    assert zarrv3.open_store(f"memory:|overlay:base={quoted}")["k"] == b"v"
    with pytest.raises(ConfigurationError, match="base"):
        zarrv3.open_store("memory:|overlay:")
    with pytest.raises(ConfigurationError, match="'basis'"):
        zarrv3.open_store("memory:|overlay:?basis=x")


def test_secrets_of_the_base_are_never_shown() -> None:
    """A password in the base's URL does not stand in any description."""
    store = zarrv3.open_store("memory:|overlay:base=redis://user:hunter2@localhost:1/0")
    assert "hunter2" not in repr(store) + store.describe() + repr(store.base)


# ---------------------------------------------------------------- many at once


def test_threads_erase_and_write_one_key(top: MemoryStore, base: MemoryStore) -> None:
    """Of threads that swap a value of the base away, on or back, exactly one wins each turn, and all agree what is there."""
    overlay = OverlayLayer(top, base=base)

    def turn(number: int) -> list[bytes]:
        mine = OverlayLayer(top, base=base)
        won = []
        for step in range(30):
            ((value, version),) = mine.get_versioned(["a/c/0"])
            new = (
                None
                if (number + step) % 3 == 0
                else b"%d.%d after %b" % (number, step, bytes(value or b"-")[:6])
            )
            if (value is None and new is None) or mine.swap_many({"a/c/0": (version, new)}):
                continue
            won.append(b"gone" if new is None else new)
        return won

    with ThreadPoolExecutor(4) as pool:
        won = [entry for entries in pool.map(turn, range(4)) for entry in entries]
    last = overlay.get("a/c/0")
    assert last is None or last in won
    assert sum(entry.endswith(b"after zero") for entry in won) <= 1
    assert dict(base.items()) == CONTENT


COUNTER = """
import sys, zarrv3
store = zarrv3.open_store(sys.argv[1])
for number in range(30):
    refused = ["f/%d" % (number % 6)]
    while refused:
        ((value, version),) = store.get_versioned(refused)
        refused = [*store.swap_many({refused[0]: (version, b"%d" % (int(bytes(value)) + 1))})]
"""


def test_processes_count_on_from_the_base(tmp_path: Path) -> None:
    """Of processes that count up values which only the base has at first, none loses what another has counted."""
    content = {f"f/{number}": b"100" for number in range(6)}
    zarrv3.open_store(str(tmp_path / "base")).update(content)
    url = f"{(tmp_path / 'mine').as_uri()}|overlay:base={(tmp_path / 'base').as_uri()}"
    counters = [subprocess.Popen([sys.executable, "-c", COUNTER, url]) for _ in range(3)]
    assert [counter.wait(300) for counter in counters] == [0, 0, 0]
    assert dict(zarrv3.open_store(url).items()) == dict.fromkeys(content, b"115")
    assert dict(zarrv3.open_store(str(tmp_path / "base")).items()) == content


WRITER = """
import os, sys, zarrv3
store = zarrv3.open_store(sys.argv[1])
print("ready", flush=True)
for number in range(100000):
    if number % 3 == 2:
        store.erase_prefix("a/")
    else:
        store.write_many({"a/zarr.json": b"%d" % number, "a/c/0": b"%d" % number, "a/c/1": None})
    print(number, flush=True)
"""


def test_killed_between_mark_and_write(tmp_path: Path) -> None:
    """Whoever is killed at any moment leaves old or new values: what was erased never shows the base again."""
    zarrv3.open_store(str(tmp_path / "base")).update(CONTENT)
    url = f"{(tmp_path / 'mine').as_uri()}|overlay:base={(tmp_path / 'base').as_uri()}"
    for kill in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(3 + kill * 2):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        store = zarrv3.open_store(url)
        assert store.get("a/c/0") in {None, *(b"%d" % number for number in range(10000))}
        assert store.get("a/c/1") is None
        assert sorted(store) == sorted(key for key in CONTENT if key in store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_goes_on(tmp_path: Path) -> None:
    """A child that was forked from a process with an open overlay reads and writes with it."""
    zarrv3.open_store(str(tmp_path / "base")).update(CONTENT)
    store = zarrv3.open_store(f"{tmp_path.as_uri()}/mine|overlay:base={tmp_path.as_uri()}/base")
    store.delitems(["a/c/0"])
    child = os.fork()
    if child == 0:
        store["a/c/1"] = b"child"
        os._exit(0 if store.get("a/c/0") is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store["a/c/1"] == b"child"


def test_closing_closes_what_was_opened(base: MemoryStore) -> None:
    """A base that was opened for the overlay is closed with it; one that was given stays open for others."""
    OverlayLayer(MemoryStore(), base=base).close()
    assert base["a/c/0"] == b"zero"
    overlay = OverlayLayer(MemoryStore(), base="memory://overlay-closed")
    overlay.close()
    with pytest.raises(zarrv3.errors.StoreClosedError):
        overlay.base.get("k")
    assert len(ERASED) == len(THROUGH) == SIZE
