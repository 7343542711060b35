"""`info`, `tree`, `ls` and what all commands have in common."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zarrv3
from zarrv3_cli import output
from zarrv3_cli.hierarchy import flat, look

Run = Callable[..., Any]


def sizes(folder: str | Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def test_info_of_an_array(url: str, run: Run) -> None:
    """The report of an array has its shape, codecs, stored bytes and attributes; in a pipe as fields, with bytes."""
    ended = run("info", f"{url}/z")
    told = dict(line.split("\t") for line in ended.out.splitlines())
    assert ended.code == 0
    assert told["Shape"] == "(2, 3, 4)"
    assert run("info", f"{url}/a/t").out.splitlines()[8] == "No. bytes\t12000"
    assert told["No. bytes stored"] == str(sizes(f"{url}/z"))
    assert told["Chunks initialized"] == "8/8"
    assert told["Attribute 'unit'"] == "'m'"
    assert told["Store"] == f"DirectoryStore(path={url + '/z'!r})"


def test_info_is_the_report_of_python(url: str, run: Run) -> None:
    """The command prints what `info_complete` says, but for how it opened the node."""
    for path in ("z", "a"):
        node = zarrv3.open(url, path=path)
        node.attrs["unit"] = "mm"
        said = [line.split("\t") for line in run("info", url, "-p", path).out.splitlines()]
        lines = {name: text for name, text in node.info_complete() if name != "Read-only"}
        assert [name for name, _ in said] == [*lines]
        assert all(lines[name].startswith(text) for name, text in said)


def test_info_as_json(url: str, run: Run) -> None:
    """The document has the metadata as stored and what follows from it."""
    array = json.loads(run("info", url, "-p", "a/t", "--json").out)
    assert array["metadata"] == json.loads(Path(url, "a/t/zarr.json").read_text())
    assert (array["chunks"], array["chunks_stored"], array["bytes"]) == (30, 30, 12000)
    assert (array["chunk_shape"], array["shard_shape"], array["path"]) == ([10, 20], None, "a/t")
    group = json.loads(run("info", f"{url}|zarr3:a", "--json").out)
    assert group["members"] == ["empty", "t"]
    assert group["consolidated"] is None


def test_info_shows_no_control_characters(url: str, run: Run) -> None:
    """What data say cannot move the cursor: escape sequences are shown escaped, in the report and in JSON."""
    for arguments in (("info", url), ("info", url, "--json")):
        out = run(*arguments).out
        assert "\x1b" not in out
        assert "31m" in out


def test_tree_in_a_pipe(url: str, run: Run) -> None:
    """A hierarchy is drawn by indentation, with shapes, types and the bytes of all that is below."""
    ended = run("tree", url)
    total, below = sizes(url), sizes(f"{url}/a")
    assert ended.out.splitlines()[:4] == [
        f"/  group  {total}",
        f"  a  group  {below}",
        f"    empty  array  (5,)  float32  {sizes(f'{url}/a/empty')}",
        f"    t  array  (100, 60)  int16  {sizes(f'{url}/a/t')}",
    ]
    assert ended.code == 0


def test_tree_to_a_level(url: str, run: Run) -> None:
    """Deeper nodes are left out, their bytes are not."""
    found = json.loads(run("tree", url, "--level", "1", "--json").out)
    assert [member["name"] for member in found["members"]] == ["a", "s", "z"]
    assert found["members"][0]["members"] == []
    assert found["members"][0]["bytes"] == sizes(f"{url}/a")


def test_tree_is_json_of_the_same(url: str, run: Run) -> None:
    """The document has what the drawing has."""
    found = json.loads(run("tree", url, "--path", "a", "--json").out)
    assert found["type"] == "group"
    (empty, full) = found["members"]
    assert full == {
        "name": "t",
        "path": "a/t",
        "type": "array",
        "bytes": sizes(f"{url}/a/t"),
        "shape": [100, 60],
        "data_type": "int16",
    }
    assert empty["path"] == "a/empty"


def test_a_hierarchy_of_any_depth(tmp_path: Path, run: Run) -> None:
    """One that is deeper than Python's calls may be is drawn, with sizes; as JSON it is refused with the way out."""
    url = f"sqlite://{tmp_path}/deep.db"
    with zarrv3.open_store(url) as store:
        zarrv3.create_group(store, path="/".join("a" * 1100))
        size = len(store["zarr.json"])
    lines = run("tree", url).out.splitlines()
    assert (len(lines), lines[0]) == (1101, f"/  group  {1101 * size}")
    assert lines[-1].strip() == f"a  group  {size}"
    refused = run("tree", url, "--json")
    assert (refused.code, "use --level" in refused.err) == (1, True)
    assert json.loads(run("tree", url, "--json", "--level", "2").out)["bytes"] == 1101 * size


def test_damaged_documents_are_shown(url: str, run: Run) -> None:
    """A node whose document cannot be read is in the tree and the list, as such, and then an error."""
    Path(url, "s/zarr.json").write_text("{")
    drawn = run("tree", url)
    assert "  s  unreadable  " in drawn.out
    assert (drawn.code, drawn.err.count("\n")) == (1, 1)
    assert "s/zarr.json" in drawn.err
    ended = run("ls", url, "--json")
    assert ended.code == 1
    listed = json.loads(ended.out)
    assert [entry["type"] for entry in listed] == ["group", "unreadable", "array"]
    assert "s/zarr.json" in listed[1]["error"]


def test_ls(url: str, run: Run) -> None:
    """Members are a line each; with `-l` in fields between tabs; with `--keys` it is the store's keys."""
    assert run("ls", url).out == "a\ns\nz\n"
    long = [line.split("\t") for line in run("ls", "-l", url).out.splitlines()]
    assert long[2] == ["z", "array", "(2, 3, 4)", "float64", str(sizes(f"{url}/z"))]
    assert run("ls", url, "-p", "z").out == "z\n"  # an array lists itself
    keys = dict(line.split("\t") for line in run("ls", url, "--keys", "-p", "s").out.splitlines())
    assert keys == {
        "s/c/0": str(sizes(f"{url}/s/c")),
        "s/zarr.json": str(Path(url, "s/zarr.json").stat().st_size),
    }
    listed = json.loads(run("ls", url, "--keys", "--json").out)
    assert {entry["key"] for entry in listed} == set(zarrv3.open_store(url))
    assert "members" not in json.loads(run("ls", url, "--json").out)[0]


def test_options_and_paths(url: str, run: Run, tmp_path: Path) -> None:
    """`-o` gives options to a bare path and to a URL, an unknown one is an error that lists the known ones."""
    uri = Path(url).as_uri()
    assert run("ls", url, "-o", "normalize_keys=true").out == "a\ns\nz\n"
    assert run("ls", uri, "-o", "normalize_keys=true", "-o", "fsync=true").out == "a\ns\nz\n"
    assert run("ls", f"{uri}?fsync=true|prefix:a", "-o", "normalize_keys=true").out == "empty\nt\n"
    for where in (url, uri):
        ended = run("ls", where, "-o", "fsink=true")
        assert (ended.code, ended.out) == (1, "")
        assert "fsync" in ended.err
        assert ended.err.count("\n") == 1
    assert run("ls", url, "-o", "fsync").code == 2


def test_options_reach_named_stores(
    url: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named store is opened by `store:NAME`, with options."""
    monkeypatch.setenv("ZARRV3_STORE_SCANS", Path(url).as_uri())
    assert run("ls", "store:scans", "-o", "fsync=true").out == "a\ns\nz\n"


@pytest.mark.parametrize("command", ["info", "tree", "ls", "cat", "verify", "consolidate"])
def test_errors_are_one_line(command: str, run: Run, tmp_path: Path) -> None:
    """What is not there is one line on stderr and exit code 1, and nothing was created by looking."""
    ended = run(command, tmp_path / "nothing")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("zarrv3: there is no ")
    assert ended.err.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("info",),
        ("info", "a", "b"),
        ("info", "a", "--nonsense"),
        ("tree", "a", "--level", "x"),
        ("cat", "a", "1:2:3:4"),
        ("cat", "a", "x"),
        ("cat", "a", "--picture", "--json"),
        ("check", "memory://x", "--only", "nonsense"),
        ("stores", "--kind", "nonsense"),
        ("copy", "a", "b", "--chunks", "x"),
        ("copy", "a", "b", "--compressor", "{"),
        ("copy", "a", "b", "--compressor", "zstd:9"),
        ("copy", "a", "b", "--filter", "transpose:[1,0]"),
        ("copy", "a", "b", "--serializer", "{"),
    ],
    ids=" ".join,
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    """Wrong usage is one line that says where help is, and exit code 2."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("zarrv3: ")
    assert ended.err.endswith("--help\n")
    assert ended.err.count("\n") == 1


def test_no_command_is_help(run: Run) -> None:
    """Without a command the help goes to stderr, with exit code 2; asked for it goes to stdout, with 0."""
    ended = run()
    assert (ended.code, ended.out) == (2, "")
    asked = run("--help")
    assert (asked.code, asked.err, asked.out) == (0, "", ended.err)
    assert run("--version").out == f"zarrv3 {zarrv3.__version__}\n"


def test_debug_shows_the_traceback(run: Run, tmp_path: Path) -> None:
    """`--debug` anywhere on the line puts the traceback before the one line; after `--` it is an argument."""
    for line in (("--debug", "ls", tmp_path), ("ls", tmp_path, "--debug")):
        ended = run(*line)
        assert ended.err.startswith("Traceback")
        assert "zarrv3: there is no node" in ended.err.splitlines()[-1]
    assert "Traceback" not in run("ls", "--", "--debug").err


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_secrets_are_not_shown(run: Run, debug: tuple[str, ...]) -> None:
    """No error, not even a traceback, shows a password: of a URL, of an option, of one that is misspelled."""
    for line in (
        ("ls", "file://user:hunter2@host/data"),
        ("ls", "file:///data?password=hunter2"),
        ("ls", "file:///data", "-o", "password=hunter2"),
        ("ls", "nonsense://user:hunter2@host/"),
        ("ls", "nonsense://host/", "-o", "password=hunter2"),
        ("ls", "relative", "-o", "password=hunter2"),
        ("ls", "relative", "-opassword=hunter2"),
        ("ls", "relative", "--option=password=hunter2"),
        ("ls", "relative", "-o", "fsync=hunter2", "-o", "token=hunter2"),
    ):
        ended = run(*line, *debug)
        assert ended.code == 1
        assert ended.err
        assert "hunter2" not in ended.err + ended.out


def test_unexpected_errors_are_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """An error that nobody foresaw is named with its class, and says how to see more."""

    def broken(*_: object) -> None:
        raise RuntimeError("first\nsecond \x1b[31m")

    monkeypatch.setattr("zarrv3_cli.output.line", broken)
    ended = run("ls", url)
    assert (ended.code, ended.err) == (
        1,
        "zarrv3: RuntimeError: first second \\x1b[31m; --debug shows where\n",
    )


def test_stores_that_cannot_list(url: str) -> None:
    """Where a store cannot list, nodes are shown without sizes; members are those of consolidated metadata."""
    zarrv3.consolidate_metadata(url)
    from zarrv3.store.memory import MemoryDriver
    from zarrv3.store.wrapping import DriverStore

    driver = MemoryDriver(dict(zarrv3.open_store(url).items()))
    driver.capabilities = driver.capabilities.without("list")
    top = look(DriverStore(driver), "z")
    assert [entry.size for entry in flat(top)] == [None]
    assert top.fields() == ["array", "(2, 3, 4)", "float64", ""]
    names = [entry.path for entry in flat(look(DriverStore(driver), ""))]
    assert names == ["", "a", "a/empty", "a/t", "s", "z"]


def test_sizes_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal sizes are short."""
    assert output.bytes_text(123456) == "123456"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert output.bytes_text(123456) == "120.6K"
    assert output.bytes_text(12) == "12"
