"""Versions by URL: what a user does with repositories of Icechunk."""

import functools
import http.server
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import icechunk
import numpy as np
import pytest

import zarrv3
from zarrv3.errors import (
    ConfigurationError,
    InvalidKeyError,
    ReadOnlyError,
    StoreAccessError,
    StoreClosedError,
    StoreError,
    UnsupportedError,
)
from zarrv3.testing.interrupts import interrupted, points
from zarrv3.testing.processes import Child, Writer, together
from zarrv3_bridge_icechunk import CommitConflictError, IcechunkStore, UncommittedWarning
from zarrv3_cli.running import main
from zarrv3_serve import served

ICECHUNK_2 = hasattr(icechunk, "http_storage")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A place in a folder, where there is no repository yet."""
    return f"icechunk+{(tmp_path / 'repository').as_uri()}"


def branch(url: str) -> IcechunkStore:
    """A store by its URL."""
    store = zarrv3.open_store(url)
    assert isinstance(store, IcechunkStore)
    return store


def begun(url: str, *names: str) -> None:
    """Make a repository with an array of four zeros for each name."""
    with branch(url) as store:
        zarrv3.create_group(store)
        for name in names:
            zarrv3.create_array(store, name=name, shape=(4,), chunks=(2,), dtype="i4")
        store.commit("begun")


def elements(url: str, name: str = "a") -> list[int]:
    """What an array holds."""
    with branch(url) as store:
        return [int(value) for value in zarrv3.open_array(store, path=name, mode="r")[:]]


def messages(url: str) -> list[str]:
    """What a history says, the newest first."""
    with branch(url) as store:
        return [one.message for one in store.history()]


# ---------------------------------------------------------------- versions


def test_time_travel(url: str) -> None:
    """Branches, tags and snapshots show what was committed to them, by URL, and tell their history."""
    with branch(url) as store:
        array = zarrv3.create_array(store, name="a", data=np.zeros(4, "i4"), chunks=(2,))
        first = store.commit("zeros")
        store.create_tag("v1")
        store.create_branch("trial")
        array[1] = 5
        second = store.commit("a five")
        assert [(one.id, one.parent, one.message) for one in store.history()][:2] == [
            (second, first, "a five"),
            (first, [*store.history()][2].id, "zeros"),
        ]
        assert store.tags() == {"v1": first}
        assert store.branches() == {"main": second, "trial": first}
    with branch(f"{url}?branch=trial") as store:
        zarrv3.open_array(store, path="a")[3] = 7
    assert elements(url) == elements(f"{url}?snapshot={second}") == [0, 5, 0, 0]
    assert elements(f"{url}?tag=v1") == elements(f"{url}?snapshot={first}") == [0, 0, 0, 0]
    assert elements(f"{url}?branch=trial") == [0, 0, 0, 7]
    assert messages(f"{url}?branch=trial")[:2] == ["written by zarrv3", "zeros"]


def test_reading_creates_nothing(url: str, tmp_path: Path) -> None:
    """Where there is no repository the branch `main` is empty, and the first write creates one; all else is an error."""
    with branch(url) as store:
        assert store.list() == []
        assert not [*store.history(), *store.branches(), *store.tags()]
        assert store.snapshot_id is None
        with pytest.raises(StoreError, match="nothing to commit"):
            store.commit("nothing")
        with pytest.raises(ConfigurationError, match="no repository"):
            store.create_tag("v1")
    for version in ("branch=trial", "tag=v1", "snapshot=V1", "mode=r"):
        with pytest.raises(ConfigurationError, match="there is no repository"):
            branch(f"{url}?{version}").list()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("branch=no", "no branch 'no'"),
        ("tag=no", "no tag 'no'"),
        ("snapshot=no", "no snapshot 'no'"),
        ("snapshot=VY76P925PRY57WFEK410", "no snapshot 'VY76P925PRY57WFEK410'"),
    ],
)
def test_wrong_names(url: str, version: str, said: str) -> None:
    """A branch, tag or snapshot that there is not is an error that lists those that there are."""
    begun(url)
    with branch(url) as store:
        store.create_tag("v1")
    with pytest.raises(ConfigurationError, match=f"{said}; branches: main; tags: v1"):
        branch(f"{url}?{version}").list()


def test_one_version(url: str) -> None:
    """Two versions in one URL are refused, as is a URL of no storage."""
    with pytest.raises(ConfigurationError, match="a branch, a tag or a snapshot"):
        branch(f"{url}?branch=main&tag=v1")
    for wrong in ("icechunk:///data", "icechunk+redis://host/0", "icechunk+s3:///prefix"):
        with pytest.raises(ConfigurationError):
            branch(wrong)


def test_what_is_read_is_not_written(url: str) -> None:
    """Tags, snapshots and branches opened for reading refuse every change, and the error says so."""
    begun(url, "a")
    with branch(url) as store:
        store.create_tag("v1")
        snapshot = store.snapshot_id
    for version in ("tag=v1", f"snapshot={snapshot}", "mode=r"):
        with branch(f"{url}?{version}") as store:
            assert store.several_writers == "yes, because nothing can be written"
            with pytest.raises(ReadOnlyError):
                store["a/zarr.json"] = b"{}"
            with pytest.raises(ReadOnlyError):
                zarrv3.open_array(store, path="a")[0] = 1
            with pytest.raises((ReadOnlyError, UnsupportedError)):
                store.commit("no")
    assert messages(url) == ["begun", "Repository initialized"]


def test_only_what_is_zarrs(url: str) -> None:
    """Keys that Icechunk cannot hold are refused by name, and what was there stays."""
    begun(url, "a")
    with branch(url) as store:
        before = sorted(store.list())
        for key, value in {"k": b"v", "no/c/0": b"v", "a/c/9": b"v", "x/zarr.json": b"{"}.items():
            with pytest.raises(InvalidKeyError, match=key):
                store[key] = value
        assert sorted(store.list()) == before
        assert "k" not in store
        assert store.stat_many(["k", "a/c/9", "no/zarr.json"]) == [None] * 3


# ---------------------------------------------------------------- commits


def test_a_session_is_its_stores_own(url: str) -> None:
    """What is not committed is seen by nobody else, and can be discarded; a reader keeps its snapshot."""
    begun(url, "a")
    with branch(url) as store, branch(url) as other:
        array = zarrv3.open_array(store, path="a")
        array[0] = 1
        assert store.has_changes
        assert zarrv3.open_array(other, path="a")[0] == 0
        store.commit("one")
        assert not store.has_changes
        assert zarrv3.open_array(other, path="a")[0] == 0
        other.rebase()
        assert zarrv3.open_array(other, path="a")[0] == 1
        array[0] = 2
        store.discard()
        assert array[0] == 1
    assert messages(url)[0] == "one"


def test_closing_commits(url: str) -> None:
    """Closing commits what is left, with the message of the option; flushing does so too with it, and not without."""
    with branch(url) as store:
        zarrv3.create_array(store, name="a", data=[1])
        store.flush()
        assert store.has_changes
    with branch(f"{url}?commit=by+option") as store:
        zarrv3.open_array(store, path="a")[0] = 2
        store.flush()
        assert not store.has_changes
        zarrv3.open_array(store, path="a")[0] = 3
    assert messages(url)[:3] == ["by option", "by option", "written by zarrv3"]
    assert elements(url) == [3]
    with pytest.raises(StoreClosedError):
        store.commit("closed")


def test_an_error_commits_nothing(url: str) -> None:
    """A block that raises leaves its store open, with a warning; what was written can still be committed or discarded."""
    begun(url, "a")
    for keep in (True, False):
        store = branch(url)
        with pytest.warns(UncommittedWarning, match="left open"), pytest.raises(ZeroDivisionError):
            _fail(store, 1 + keep)
        assert store.has_changes
        with pytest.raises(StoreError, match="commit"):
            store.close()
        if keep:
            store.commit("kept")
        else:
            store.discard()
        store.close()
    assert messages(url)[:2] == ["kept", "begun"]
    assert elements(url)[0] == 2


def _fail(store: IcechunkStore, value: int) -> None:
    with store:
        zarrv3.open_array(store, path="a")[0] = value
        raise ZeroDivisionError


def test_an_earlier_error_does_not_matter(url: str) -> None:
    """A store that is opened and closed while an error is handled commits: `except NodeNotFoundError: save(…)`."""
    try:
        zarrv3.open_array(url)
    except FileNotFoundError:
        zarrv3.save(url, np.arange(3))
    assert elements(url, "") == [0, 1, 2]


SCRIPT = """
import zarrv3
array = zarrv3.open_array({url!r}, path="a")
array[0] = 9
{last}
"""


@pytest.mark.parametrize(("last", "expected"), [("raise SystemExit(3)", 9), ("1 / 0", 0)])
def test_the_end_of_a_process(url: str, last: str, expected: int) -> None:
    """What nobody closed is committed when a process ends, unless an error ends it: that is said, and nothing is committed."""
    begun(url, "a")
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(url=url, last=last)], capture_output=True, text=True, check=False
    )
    assert elements(url)[0] == expected
    assert ("is lost: it was not committed" in ended.stderr) == ("1 / 0" in last), ended.stderr


def test_the_end_of_a_forked_process(url: str) -> None:
    """A process of a pool, which ends otherwise than others, commits too."""
    begun(url, "a")
    together(_write_and_leave, url, 1)
    assert elements(url)[0] == 8


def _write_and_leave(url: str, _: int) -> None:
    zarrv3.open_array(url, path="a")[0] = 8


# ---------------------------------------------------------------- conflicts


def test_conflicts_of_different_arrays(url: str) -> None:
    """Of two sessions one wins; the other gets our error with nothing lost, and after a rebase both changes are there."""
    begun(url, "a", "b")
    with branch(url) as one, branch(url) as other:
        zarrv3.open_array(one, path="a")[0] = 1
        zarrv3.open_array(other, path="b")[0] = 2
        one.commit("one")
        with pytest.raises(CommitConflictError, match="rebase"):
            other.commit("other")
        other.rebase()
        other.commit("other")
        assert zarrv3.open_array(other, path="a")[0] == 1
    assert (elements(url, "a")[0], elements(url, "b")[0]) == (1, 2)
    assert messages(url)[:2] == ["other", "one"]


@pytest.mark.parametrize(("solver", "kept"), [("ours", 2), ("theirs", 1)])
def test_conflicts_of_one_chunk(url: str, solver: str, kept: int) -> None:
    """Where both have written a chunk, rebasing fails by name, keeps the changes, and a solver says whose chunk stays."""
    begun(url, "a")
    with branch(url) as one, branch(url) as other:
        zarrv3.open_array(one, path="a")[0] = 1
        zarrv3.open_array(other, path="a")[0] = 2
        one.commit("one")
        for attempt in (other.rebase, functools.partial(other.commit, "other", rebase="detect"), other.close):
            with pytest.raises(CommitConflictError, match=r"at /a.*still here.*'ours'"):
                attempt()
            assert other.has_changes
            assert zarrv3.open_array(other, path="a")[0] == 2
        with pytest.raises(ConfigurationError, match="'detect', 'ours' or 'theirs'"):
            other.rebase("mine")  # type: ignore[arg-type]
        other.commit("other", rebase=solver)  # type: ignore[arg-type]
    assert elements(url)[0] == kept


def test_processes_commit_at_once(url: str) -> None:
    """Four processes commit to one folder at once, five times each: all of it is there."""
    begun(url, *(f"a{number}" for number in range(4)))
    together(_commit_often, url, 4)
    assert [elements(url, f"a{number}") for number in range(4)] == [[5, 0, 0, 0]] * 4
    assert len(messages(url)) == 22


def _commit_often(url: str, number: int) -> None:
    with branch(url) as store:
        array = zarrv3.open_array(store, path=f"a{number}")
        for turn in range(5):
            array[0] = turn + 1
            store.commit(f"{number}.{turn}", rebase="detect")


@pytest.mark.skipif(os.name != "posix", reason="folders are not locked on this system")
def test_a_folder_is_locked(url: str, tmp_path: Path) -> None:
    """A commit to a folder waits for those that others make there, which icechunk would not notice."""
    import fcntl

    begun(url, "a")
    with branch(url) as store, ThreadPoolExecutor(1) as pool:
        zarrv3.open_array(store, path="a")[0] = 1
        folder = os.open(tmp_path / "repository", os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        committed = pool.submit(store.commit, "waited")
        with pytest.raises(TimeoutError):
            committed.result(timeout=0.3)
        os.close(folder)
        assert committed.result(timeout=120) == store.snapshot_id


def test_processes_create_at_once(url: str) -> None:
    """Processes that write to a place at once where nothing was get one repository with what all have written."""
    together(_create, url, 3)
    with branch(url) as store:
        assert {name for name in ("a0", "a1", "a2") if f"{name}/zarr.json" in store} == {"a0", "a1", "a2"}


def _create(url: str, number: int) -> None:
    with branch(url) as store:
        document = zarrv3.create_array(None, shape=(1,), dtype="i4").metadata.to_document()
        store[f"a{number}/zarr.json"] = json.dumps(document).encode()


def test_killed_while_committing(url: str) -> None:
    """A process that is killed at any moment leaves every commit it has told of, whole, and the repository can be written."""
    begun(url, "a")
    rng = random.Random(3)
    first = 1
    for _ in range(3):
        writer = Writer(_commit_number, functools.partial(branch, url), first)
        try:
            writer.wait_for_first()
            time.sleep(rng.uniform(0, 0.05))
        finally:
            last = writer.kill()
        found = elements(url)
        assert found == [found[0]] * 4
        assert last <= found[0] <= last + 1
        first = found[0] + 1
    assert messages(url)[0] == str(found[0])


def _commit_number(store: IcechunkStore, number: int) -> None:
    zarrv3.open_array(store, path="a")[:] = number
    store.commit(str(number), rebase="detect")


def test_interrupted_commits(url: str) -> None:
    """A commit that is interrupted at any point is made or not, and the store can be used at once."""
    begun(url, "a")
    with branch(url) as store:
        array = zarrv3.open_array(store, path="a")

        def commit() -> None:
            store.commit("interrupted")

        array[0] = 1
        for point in range(1, points(commit) + 1, 3):
            array[0] = point
            interrupted(commit, point)
            assert array[0] == point
            if store.has_changes:
                store.commit("then")
        assert elements(url)[0] == point


# ---------------------------------------------------------------- processes


def test_pickling(url: str) -> None:
    """What is only read shows the same snapshot elsewhere; changes that are not committed are not pickled."""
    begun(url, "a")
    with branch(f"{url}?mode=r") as reader, branch(url) as store:
        assert zarrv3.open_array(reader, path="a")[0] == 0
        zarrv3.open_array(store, path="a")[0] = 1
        with pytest.raises(UnsupportedError, match="commit before"):
            pickle.dumps(store)
        store.commit("one")
        with pickle.loads(pickle.dumps(reader)) as copy:
            assert zarrv3.open_array(copy, path="a")[0] == 0
        with pickle.loads(pickle.dumps(store)) as copy:
            assert zarrv3.open_array(copy, path="a")[0] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forks(url: str) -> None:
    """A forked child uses a store of its parent, but not one whose changes were not committed: it would not see them."""
    begun(url, "a")
    with branch(url) as store:
        array = zarrv3.open_array(store, path="a")
        assert array[0] == 0
        assert together(_read, store, 2) == ["0", "0"]
        array[0] = 1
        assert together(_read, store, 1) == ["UnsupportedError"]
        store.commit("one")
        assert together(_read, store, 1) == ["1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_memory_after_forks() -> None:
    """A forked child is told that it does not have its parent's repository in memory, rather than that nothing is there."""
    url = "icechunk+memory://test_memory_after_forks"
    begun(url, "a")
    with branch(url) as store:
        assert together(_read, store, 1) == ["UnsupportedError"]


def _read(store: IcechunkStore, _: int) -> str:
    try:
        return str(zarrv3.open_array(store, path="a")[0])
    except StoreError as error:
        return type(error).__name__


# ---------------------------------------------------------------- hierarchies


def test_copies_in_and_out(url: str) -> None:
    """A hierarchy is copied in and out with verification, consolidated, moved and overwritten; a copy by URL is one commit."""
    source = zarrv3.group()
    source.create_array("g/x", data=np.arange(12).reshape(3, 4), chunks=(2, 2), shards=None)
    source.create_array("y", data=[1.5, 2.5], attributes={"unit": "m"})
    assert zarrv3.copy(source, f"{url}?commit=copied", verify=True).arrays == 2
    assert messages(url) == ["copied", "Repository initialized"]
    with branch(url) as store:
        group = zarrv3.open_group(store)
        group.move("g", "moved")
        zarrv3.create_array(store, name="y", data=[3], overwrite=True)
        zarrv3.consolidate_metadata(store)
        store.commit("consolidated")
        assert zarrv3.verify(store).problems == ()
    zarrv3.copy(f"{url}?branch=main", there := zarrv3.open_store(), verify=True)
    back = zarrv3.open_group(there)
    assert back["moved/x"][:].tolist() == np.arange(12).reshape(3, 4).tolist()
    assert back["y"][:].tolist() == [3]
    with branch(url) as store:
        old = [*store.history()][-2].id
    zarrv3.copy(f"{url}?snapshot={old}", f"{url}?commit=as+it+was", overwrite=True, verify=True)
    assert zarrv3.open_group(url, mode="r")["y"].attrs["unit"] == "m"


def test_virtual_chunks(url: str, tmp_path: Path) -> None:
    """Chunks outside the repository are read where that is allowed; else the error says how."""
    (tmp_path / "outside").write_bytes(np.arange(4, dtype="<i4").tobytes())
    container = f"{tmp_path.as_uri()}/"
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(
        icechunk.VirtualChunkContainer(container, icechunk.local_filesystem_store(str(tmp_path)))
    )
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    icechunk.Repository.create(storage, config=config).save_config()
    begun(url)
    with branch(url) as store:
        zarrv3.create_array(store, name="v", shape=(4,), chunks=(4,), dtype="i4", compressors=None)
        store.driver.session.store.set_virtual_ref("v/c/0", f"{container}outside", offset=0, length=16)
        store.commit("referred to")
    with pytest.raises(StoreAccessError, match="`virtual`"):
        elements(url, "v")
    allowed = zarrv3.open_store(url, virtual={container: "env"})
    assert zarrv3.open_array(allowed, path="v", mode="r")[:].tolist() == [0, 1, 2, 3]


# ---------------------------------------------------------------- places


def test_memory() -> None:
    """Stores in memory of one name share a repository, within this process."""
    url = "icechunk+memory://test_memory"
    begun(url, "a")
    with branch(url) as store:
        zarrv3.open_array(store, path="a")[0] = 4
    assert elements(url)[0] == 4


def test_s3() -> None:
    """A repository in a bucket: written, committed twice at once, read by a tag; a secret is not shown."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        icechunk_client(address)
        url = f"icechunk+s3://bucket/repository?endpoint_url={address}&key=testing&secret=hidden-secret"
        begun(url, "a", "b")
        with branch(url) as one, branch(url) as other:
            zarrv3.open_array(one, path="a")[0] = 1
            zarrv3.open_array(other, path="b")[0] = 2
            one.commit("one")
            other.create_tag("v1")
            with pytest.raises(CommitConflictError) as caught:
                other.commit("other")
            assert "hidden-secret" not in str(caught.value)
            other.commit("other", rebase="detect")
        assert (elements(url, "a")[0], elements(url, "b")[0]) == (1, 2)
        assert elements(f"{url}&tag=v1", "a")[0] == 0
    finally:
        server.stop()


def test_inside_a_database(tmp_path: Path) -> None:
    """A repository lives in one SQLite file, which `zarrv3 serve --s3` shows as a bucket: processes commit to it at once."""
    database = f"sqlite:///{tmp_path}/repository.db"
    with served(database, s3=True, write=True, token="token-of-the-test") as address:
        url = f"icechunk+s3://zarr/repository?endpoint_url={address}&key=zarrv3&secret=token-of-the-test"
        begun(url, "a0", "a1")
        together(_commit_often, url, 2)
        assert [elements(url, name)[0] for name in ("a0", "a1")] == [5, 5]
        assert len(messages(url)) == 12
    with zarrv3.open_store(database) as store:
        assert any(key.startswith("repository/snapshots/") for key in store)


def icechunk_client(address: str) -> None:
    """Make the bucket."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket="bucket")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The folder behind a web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_web_servers(url: str, web: str) -> None:
    """A repository behind a web server is read-only; an icechunk that cannot do that is named."""
    begun(url, "a")
    there = f"icechunk+{web}/repository"
    if ICECHUNK_2:
        assert elements(there) == [0, 0, 0, 0]
        assert not branch(there).capabilities.write
    else:
        with pytest.raises(UnsupportedError, match=r"from 2\.0 on"):
            elements(there)


# ---------------------------------------------------------------- the command line


def test_commands(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`copy` to a branch commits, `log` shows the history, `commit` puts a note and a tag into it."""

    def run(*arguments: str) -> tuple[int, str, str]:
        return (main(arguments), *capsys.readouterr())

    draft = str(tmp_path / "draft")
    zarrv3.save(draft, np.arange(4))
    assert run("copy", draft, f"{url}?commit=from+a+draft", "--verify")[0] == 0
    code, noted, said = run("commit", url, "-m", "checked", "--tag", "v1")
    assert (code, said) == (0, "")
    code, told, _ = run("log", url, "-n", "2")
    newest, older = (line.split("\t") for line in told.splitlines())
    assert (newest[0], newest[2], newest[3]) == (noted.strip(), "checked", "main, v1")
    assert (older[2], older[3]) == ("from a draft", "")
    history = json.loads(run("log", f"{url}?tag=v1", "--json")[1])
    assert [one["message"] for one in history] == ["checked", "from a draft", "Repository initialized"]
    code, _, said = run("commit", url, "-m", "once more", "--tag", "v1")
    assert (code, "nothing was committed" in said) == (1, True)
    assert "has no versions" in run("log", draft)[2]
    assert elements(f"{url}?tag=v1", "") == [0, 1, 2, 3]


def test_an_interrupted_command(url: str, tmp_path: Path) -> None:
    """A copy that Ctrl-C ends commits nothing."""
    draft = str(tmp_path / "draft")
    values = np.random.default_rng(0).integers(0, 1 << 60, 600_000)
    zarrv3.save(draft, values, chunks=(1000,))
    copying = Child(_command, "copy", draft, url)
    try:
        while not copying.pipe.poll() and not any((tmp_path / "repository/chunks").glob("*")):
            time.sleep(0.005)
        assert copying.process.pid is not None
        os.kill(copying.process.pid, signal.SIGINT)
        code = copying.result()
    finally:
        copying.kill()
    assert code in {130, 0}  # it may have been faster
    assert messages(url) == [*["written by zarrv3"] * (code == 0), "Repository initialized"]


def _command(*arguments: str) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return main(arguments)
