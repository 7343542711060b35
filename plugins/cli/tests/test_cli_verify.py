"""`verify` and `check`: stores with something wrong, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry
from zarrv3.errors import StoreUnavailableError
from zarrv3_cli.verification import Findings, verify

Run = Callable[..., Any]


def found(run: Run, *arguments: object) -> dict[tuple[str, str], str]:
    """The problems of a hierarchy by kind and key."""
    ended = run("verify", *arguments, "--json")
    problems = json.loads(ended.out)["problems"]
    assert ended.code == bool(problems)
    assert ended.err == ""
    return {(problem["kind"], problem["key"]): problem["message"] for problem in problems}


def test_a_sound_store(url: str, run: Run) -> None:
    """What was read is counted: stored chunks only, each once."""
    ended = run("verify", url)
    assert ended.code == 0
    assert ended.out == "2 groups, 4 arrays, 39 chunks of 12574 bytes read; 0 problems\n".replace(
        "12574", str(sum(path.stat().st_size for path in Path(url).rglob("c/**/*") if path.is_file()))
    )
    only = json.loads(run("verify", url, "-p", "z", "--json").out)
    assert (only["arrays"], only["groups"], only["chunks"]) == (1, 0, 8)


def test_corrupt_chunks(url: str, run: Run) -> None:
    """Every chunk that is too short or does not decode is named with its key, and nothing else is."""
    Path(url, "a/t/c/3/1").write_bytes(b"short")
    Path(url, "z/c/1/1/0").write_bytes(b"no zstd")
    assert set(found(run, url)) == {("corrupt", "a/t/c/3/1"), ("corrupt", "z/c/1/1/0")}
    assert set(found(run, url, "-p", "a")) == {("corrupt", "a/t/c/3/1")}
    lines = run("verify", url).out.splitlines()
    assert [line.split("\t")[:2] for line in lines[:-1]] == [
        ["corrupt", "a/t/c/3/1"],
        ["corrupt", "z/c/1/1/0"],
    ]
    assert lines[-1].endswith("; 2 problems")


def test_every_chunk_is_tried(url: str, run: Run) -> None:
    """A chunk that is corrupt hides no other."""
    chunks = [path for path in Path(url, "a/t/c").rglob("*") if path.is_file()]
    for path in chunks:
        path.write_bytes(b"")
    assert set(found(run, url)) == {("corrupt", path.relative_to(url).as_posix()) for path in chunks}


def test_many_chunks(tmp_path: Path) -> None:
    """Chunks are read some dozens at a time: a few calls for hundreds of them, and progress is told up to the end."""
    array = zarrv3.create_array(tmp_path / "many", shape=(300,), chunks=(1,), dtype="i2")
    array[:] = range(1, 301)
    store = zarrv3.Counting(zarrv3.open_store(tmp_path / "many"))
    findings = Findings()
    seen: list[tuple[int, int | None]] = []
    verify(store, "", findings, complete=False, report=lambda done, total: seen.append((done, total)))
    assert (findings.chunks, findings.problems) == (300, {})
    assert seen[-1] == (300, 300)
    assert store.calls["get_many"] <= 10
    assert store.calls["list_prefix"] <= 2


def test_missing_chunks(url: str, run: Run) -> None:
    """A missing chunk is the fill value; with `--complete` it is a problem."""
    Path(url, "a/t/c/3/1").unlink()
    assert found(run, url) == {}
    missing = {("missing", "a/t/c/3/1"), *(("missing", f"a/empty/c/{number}") for number in range(3))}
    assert set(found(run, url, "--complete")) == missing


def test_damaged_documents(url: str, run: Run) -> None:
    """Documents that cannot be read, or that should be there, are problems, and what lies below is still verified."""
    Path(url, "a/zarr.json").write_text("{")
    Path(url, "a/t/c/0/0").write_bytes(b"short")
    assert set(found(run, url)) == {("corrupt", "a/zarr.json"), ("corrupt", "a/t/c/0/0")}
    Path(url, "a/zarr.json").unlink()
    problems = found(run, url)
    assert set(problems) == {("missing", "a/zarr.json"), ("corrupt", "a/t/c/0/0")}
    assert "nodes lie below it" in problems["missing", "a/zarr.json"]


def test_an_unreadable_root(url: str, run: Run) -> None:
    """The document of the node itself may be the corrupt one."""
    Path(url, "zarr.json").write_text("[]")
    assert set(found(run, url)) == {("corrupt", "zarr.json")}


def test_consolidated_metadata_of_nothing(url: str, run: Run) -> None:
    """A node that consolidated metadata tells of has to be there."""
    assert run("consolidate", url).out == "/: metadata of 5 members consolidated\n"
    assert json.loads(run("info", url, "--json").out)["consolidated"] == 5
    assert found(run, url) == {}
    for path in sorted(Path(url, "z").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    problems = found(run, url)
    assert set(problems) == {("missing", "z/zarr.json")}
    assert "consolidated" in problems["missing", "z/zarr.json"]


def test_malformed_consolidated_metadata(url: str, run: Run) -> None:
    """Consolidated metadata that are no such are a problem of the document that has them."""
    path = Path(url, "zarr.json")
    document = json.loads(path.read_text())
    inline = {"kind": "inline", "must_understand": False, "metadata": {"../outside": {}}}
    path.write_text(json.dumps({**document, "consolidated_metadata": inline}))
    assert set(found(run, url)) == {("corrupt", "zarr.json")}


def test_consolidate_as_json(url: str, run: Run) -> None:
    """What was consolidated is told."""
    assert json.loads(run("consolidate", url, "-p", "a", "--json").out) == {"path": "a", "members": 2}


def test_what_is_not_installed(url: str, run: Run) -> None:
    """An array whose codec or transformer is not known cannot be verified, and that is said."""
    path = Path(url, "z/zarr.json")
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "storage_transformers": [{"name": "unknown.here"}]}))
    assert set(found(run, url)) == {("unreadable", "z/zarr.json")}
    path.write_text(json.dumps({**document, "codecs": [{"name": "unknown.here"}]}))
    assert set(found(run, url)) == {("unreadable", "z/zarr.json")}


def test_transformed_keys(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a storage transformer chunks are found through it."""

    class Turned(zarrv3.StorageTransformer):
        extension_uri = "example.turned"

        def get_many(self, requests: Any, /) -> Any:
            return [None if value is None else bytes(value)[::-1] for value in self.inner.get_many(requests)]

        def get_versioned(self, keys: Any, /) -> Any:
            return [(v if v is None else bytes(v)[::-1], version) for v, version in self.inner.get_versioned(keys)]

        def write_many(self, changes: Any, /) -> None:
            self.inner.write_many({key: bytes(value)[::-1] for key, value in changes.items()})

        def swap_many(self, swaps: Any, /) -> Any:
            return self.inner.swap_many({k: (version, bytes(v)[::-1]) for k, (version, v) in swaps.items()})

        def apply_many(self, changes: Any, /) -> None:
            raise NotImplementedError

    monkeypatch.setitem(registry._loaded, ("storage_transformers", "example.turned"), Turned)
    array = zarrv3.create_array(
        tmp_path / "a", shape=(6,), chunks=(2,), dtype="i4", storage_transformers=[{"name": "example.turned"}]
    )
    array[:] = range(6)
    ended = run("verify", tmp_path / "a")
    assert ended.out.startswith("0 groups, 1 arrays, 3 chunks of ")


def test_a_store_that_goes_away(url: str) -> None:
    """When the store cannot be reached any more verifying stops with its error, instead of reporting every key."""

    class Gone(zarrv3.Layer):
        kind = "gone"

        def get_many(self, requests: Any, /) -> Any:
            if any("/c/" in key for key, _ in requests):
                raise StoreUnavailableError("the server has gone away")
            return self.inner.get_many(requests)

    with pytest.raises(StoreUnavailableError):
        verify(Gone(zarrv3.open_store(url)), "", Findings(), complete=False, report=None)


def test_keys_that_cannot_be_read(url: str) -> None:
    """Where the store fails for single keys, those are reported and the others are read."""

    class Forbidden(zarrv3.Layer):
        kind = "forbidden"

        def get_many(self, requests: Any, /) -> Any:
            if any(key == "a/t/c/4/2" for key, _ in requests):
                raise zarrv3.errors.StoreAccessError("permission denied")
            return self.inner.get_many(requests)

    findings = Findings()
    seen: list[tuple[int, int]] = []
    verify(
        Forbidden(zarrv3.open_store(url)),
        "",
        findings,
        complete=False,
        report=lambda done, total: seen.append((done, total)),
    )
    assert [(problem.kind, problem.key) for problem in findings.problems] == [("unreadable", "a/t/c/4/2")]
    assert findings.chunks == 38
    assert seen[-1] == (39, 39)


def test_stores_that_cannot_list(url: str) -> None:
    """Where keys cannot be listed every chunk of the grid is asked for, of the nodes that consolidated metadata tell of."""
    zarrv3.consolidate_metadata(url)
    from zarrv3.store.memory import MemoryDriver
    from zarrv3.store.wrapping import DriverStore

    driver = MemoryDriver(dict(zarrv3.open_store(url).items()))
    driver.capabilities = driver.capabilities.without("list")
    driver.write_many({"a/t/c/0/0": b"short"})
    findings = Findings()
    verify(DriverStore(driver), "a/t", findings, complete=False, report=None)
    assert [problem.key for problem in findings.problems] == ["a/t/c/0/0"]
    assert (findings.arrays, findings.groups, findings.chunks) == (1, 0, 30)
    findings = Findings()
    verify(DriverStore(driver), "", findings, complete=False, report=None)
    assert (findings.arrays, findings.groups) == (4, 2)
    assert [problem.key for problem in findings.problems] == ["a/t/c/0/0"]


# ---------------------------------------------------------------- check


@pytest.fixture
def names() -> list[str]:
    """The names of the checks that need no processes."""
    from zarrv3.testing import CHECKS

    return [check.name for check in CHECKS if "kill" not in check.name and "process" not in check.name]


@pytest.fixture
def quick(names: list[str]) -> list[str]:
    """Options that select some dozens of them."""
    return [word for name in names[:20] for word in ("--only", name)]


def test_check_leaves_nothing(url: str, run: Run, quick: list[str]) -> None:
    """A sound store passes, what was there before is untouched, and the scratch is gone."""
    before = {path: path.is_file() and path.read_bytes() for path in Path(url).rglob("*")}
    ended = run("check", url, *quick)
    assert ended.code == 0, ended.out
    assert {path: path.is_file() and path.read_bytes() for path in Path(url).rglob("*")} == before
    *lines, total = ended.out.splitlines()
    assert len(lines) == 20
    assert (
        total
        == f"{sum(line.startswith('passed') for line in lines)} passed, 0 failed, {sum(line.startswith('not applicable') for line in lines)} not applicable"
    )


@pytest.mark.slow
def test_the_whole_kit(url: str, run: Run) -> None:
    """All checks pass on a folder, and on one store in memory of one name."""
    for where in (url, "memory://the whole kit"):
        ended = run("check", where)
        assert (ended.code, ended.err) == (0, ""), ended.out


def test_check_of_a_read_only_store(url: str, run: Run, quick: list[str]) -> None:
    """What a store does not claim is not applicable, with the reason."""
    found = json.loads(run("check", f"{url}|read-only:", *quick, "--json").out)
    assert found["counts"]["failed"] == 0
    skipped = [entry for entry in found["checks"] if entry["outcome"] == "not applicable"]
    assert len(skipped) == found["counts"]["not applicable"] > 10
    assert any("not claimed: write" in entry["reason"] for entry in skipped)


class Forgetful(zarrv3.Layer):
    """A layer that violates a rule: ranges come one byte short."""

    kind = "forgetful"

    def get_many(self, requests: Any, /) -> Any:
        """The value, of ranges without their last byte."""
        values = self.inner.get_many(requests)
        return [
            value if value is None or wanted is None else bytes(value)[:-1]
            for value, (_, wanted) in zip(values, requests, strict=True)
        ]


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> str:
    """The adapter of a layer that violates a rule."""
    monkeypatch.setitem(registry._loaded, ("layers", "forgetful"), Forgetful)
    return "|forgetful:"


def test_check_of_a_store_that_violates_a_rule(url: str, run: Run, forgetful: str, names: list[str]) -> None:
    """What is wrong is named with the rule, exit code 1, and the scratch is gone all the same."""
    ranges = [word for name in names if "range" in name for word in ("--only", name)]
    before = sorted(Path(url).rglob("*"))
    ended = run("check", f"{url}{forgetful}", *ranges)
    assert ended.code == 1
    assert any(
        line.startswith("failed") and "the rule: a ByteRange is exactly value[start:stop]" in line
        for line in ended.out.splitlines()
    )
    assert sorted(Path(url).rglob("*")) == before


def test_check_of_a_store_that_cannot_erase(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the scratch cannot be erased that is said."""

    class Keeping(zarrv3.Layer):
        kind = "keeping"

        @property
        def capabilities(self) -> zarrv3.Capabilities:
            return self.inner.capabilities.without("erase")

    monkeypatch.setitem(registry._loaded, ("layers", "keeping"), Keeping)
    ended = run("check", "memory://keeping|keeping:", "--only", "every_range")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "1 passed, 0 failed, 0 not applicable")
    assert "cannot erase" in ended.err
    assert all(key.startswith("zarrv3-check-") for key in zarrv3.open_store("memory://keeping"))


def test_check_that_is_broken_off(
    url: str, run: Run, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C in the middle of a check the exit code is 130 and the scratch is gone."""
    from zarrv3_cli import checking

    before = sorted(Path(url).rglob("*"))

    class Check:
        name = "interrupted"
        summary = ""

        def missing(self, _: object) -> list[str]:
            return []

        def run(self, opener: Any) -> None:
            with opener() as store:
                store["key"] = b"value"
            raise KeyboardInterrupt

    monkeypatch.setattr(checking, "_wanted", lambda _: [Check()])
    assert run("check", url).code == 130
    assert sorted(Path(url).rglob("*")) == before
