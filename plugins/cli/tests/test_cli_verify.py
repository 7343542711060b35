"""`verify` and `check`: stores with something wrong, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3 import registry

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


def test_missing_chunks(url: str, run: Run) -> None:
    """A missing chunk is the fill value; with `--complete` it is a problem."""
    Path(url, "a/t/c/3/1").unlink()
    assert found(run, url) == {}
    missing = {("missing", "a/t/c/3/1"), *(("missing", f"a/empty/c/{number}") for number in range(3))}
    assert set(found(run, url, "--complete")) == missing


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


def test_consolidate_as_json(url: str, run: Run) -> None:
    """What was consolidated is told."""
    assert json.loads(run("consolidate", url, "-p", "a", "--json").out) == {"path": "a", "members": 2}


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

    def get_versioned(self, keys: Any, /) -> Any:
        """Whole values, as they are."""
        return self.inner.get_versioned(keys)


@pytest.fixture
def forgetful() -> str:
    """The adapter of a layer that violates a rule."""
    registry.register("layers", "forgetful", Forgetful)
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


def test_check_of_a_store_that_cannot_erase(run: Run) -> None:
    """Where the scratch cannot be erased that is said."""

    class Keeping(zarrv3.Layer):
        kind = "keeping"

        @property
        def capabilities(self) -> zarrv3.Capabilities:
            return self.inner.capabilities.without("erase")

    registry.register("layers", "keeping", Keeping)
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


def test_ping(url: str, run: Run) -> None:
    """A store that answers is named with the time that it took; one that does not is an error of one line."""
    ended = run("ping", url, "--within", "60")
    assert (ended.code, ended.err) == (0, "")
    assert f"DirectoryStore(path={url!r}) answers in " in ended.out
    assert json.loads(run("ping", url, "--json").out)["seconds"] > 0
    refused = run("ping", "redis://me:hunter2@127.0.0.1:1/0", "--within", "60")
    assert (refused.code, refused.out, refused.err.count("\n"), "hunter2" in refused.err) == (1, "", 1, False)
