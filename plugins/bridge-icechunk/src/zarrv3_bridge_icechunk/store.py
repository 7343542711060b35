"""`IcechunkStore`: its options and URL, and what can be done with versions."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from zarrv3.errors import ConfigurationError, StoreError, UnsupportedError
from zarrv3.options.declared import Option
from zarrv3.options.redaction import redact_url
from zarrv3.options.urls import Url
from zarrv3.store.backend import Backend
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Capabilities
from zarrv3_bridge_icechunk.library import library, plain
from zarrv3_bridge_icechunk.repositories import Place, Wanted, location_of

if TYPE_CHECKING:
    from zarrv3_bridge_icechunk.driver import IcechunkDriver

UNTOLD = "written by zarrv3"
"""The message of a commit that nobody gave one."""

Solver = Literal["detect", "ours", "theirs"]
"""What is done where others have committed meanwhile: refuse what touches the same, or keep these chunks, or those of the others."""


class CommitConflictError(StoreError):
    """Others have committed to the branch meanwhile; nothing is lost, and the message says what can be done."""


class UncommittedWarning(UserWarning):
    """What was written to a branch is not committed, and will be lost with the process unless something is done."""


class Snapshot(NamedTuple):
    """One entry of a history."""

    id: str
    parent: str | None
    time: datetime
    message: str
    metadata: Mapping[str, Any]


class IcechunkStore(Backend):
    """A version of a repository of Icechunk; `icechunk+file:///repo?branch=main`, `…?tag=v1`, `…?snapshot=ID`, `icechunk+s3://`, ….

    Tags and snapshots are read; a branch is written in a session of this store, which nobody else sees until `commit(message)`.
    Closing the store commits what is left. Safe to use from many threads; processes have a session each, and of two commits of the
    same the second is a `CommitConflictError`.
    """

    kind = "icechunk"
    tested_against = {"Icechunk": "1.1, 2.3", "S3 (moto)": "5"}  # noqa: RUF012 - declared in the base class

    def __init__(
        self,
        url: Annotated[
            str, Option("the place, without options: `file:///repo`, `s3://bucket/path`", check=location_of)
        ],
        mode: Annotated[
            Literal["r", "w"], Option("`r` refuses writes; tags and snapshots are never written")
        ] = "w",
        dimension_separator: Separator = None,
        *,
        branch: Annotated[
            str | None, Option("the branch; `main` where neither a tag nor a snapshot is given")
        ] = None,
        tag: Annotated[str | None, Option("the tag to read")] = None,
        snapshot: Annotated[str | None, Option("the snapshot to read, by its id")] = None,
        commit: Annotated[
            str | None,
            Option(
                "the message with which closing commits, and flushing too; `None`: only closing does, with a message that says so"
            ),
        ] = None,
        virtual: Annotated[
            Mapping[str, Any] | None,
            Option(
                "where chunks outside the repository may be read: URL prefixes of containers, each with `env`, `anon` or "
                "credentials of icechunk",
                secret=True,
            ),
        ] = None,
        anon: Annotated[bool | None, Option("send no credentials")] = None,
        endpoint_url: Annotated[str | None, Option("another server than the provider's own")] = None,
        key: Annotated[str | None, Option("S3: the access key's id", secret=True)] = None,
        secret: Annotated[str | None, Option("S3: the secret access key", secret=True)] = None,
        token: Annotated[
            str | None,
            Option("S3: a session's token; Google: the file with the credentials, or `anon`", secret=True),
        ] = None,
        region: Annotated[str | None, Option("S3: the region")] = None,
        account_name: Annotated[str | None, Option("Azure: the storage account")] = None,
        account_key: Annotated[str | None, Option("Azure: its key", secret=True)] = None,
        sas_token: Annotated[str | None, Option("Azure: a shared access signature", secret=True)] = None,
        headers: Annotated[
            dict[str, str] | None,
            Option("web servers: headers that are sent with every request", secret=True),
        ] = None,
        **config: Annotated[
            Any, Option("further options of icechunk's storages: `force_path_style`, `requester_pays`, …")
        ],
    ) -> None:
        if sum(name is not None for name in (branch, tag, snapshot)) > 1:
            raise ConfigurationError("'icechunk' shows one version: give a branch, a tag or a snapshot")
        super().__init__(
            url=url,
            mode=mode,
            dimension_separator=dimension_separator,
            branch=branch,
            tag=tag,
            snapshot=snapshot,
            commit=commit,
            virtual=virtual,
            anon=anon,
            endpoint_url=endpoint_url,
            key=key,
            secret=secret,
            token=token,
            region=region,
            account_name=account_name,
            account_key=account_key,
            sas_token=sas_token,
            headers=headers,
            **config,
        )
        self._storage = (*_STORAGE, *config)
        self._born_in = sys.exc_info()[1]
        self._pinned: str | None = None
        self._latest: IcechunkDriver | None = None
        self._is_given_up = False

    @classmethod
    def location(cls, url: Url) -> dict[str, Any]:
        """The URL without its options and without `icechunk+`."""
        scheme = url.scheme.removeprefix("icechunk+")
        if scheme == "icechunk":
            raise ConfigurationError(
                f"{redact_url(url.text)!r}: write icechunk+file:///path, icechunk+s3://bucket/path, …"
            )
        text = url.text.partition("#")[0].partition("?")[0]
        return {"url": scheme + text[len(url.scheme) :]}

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """A repository in a new folder: what is written there has to be Zarr's, so it is not an `example_url`."""
        return _example()

    def connect(self) -> IcechunkDriver:
        """Begin a session, or open what is read. Nothing is created before the first write."""
        from zarrv3_bridge_icechunk.driver import IcechunkDriver

        if self._latest is not None and self._latest.is_left:
            raise UnsupportedError(
                f"{self.describe()} had changes that were not committed when this process was forked, which are not seen here; "
                "commit before others use it"
            )
        options = {name: self.option(name) for name in self._storage}
        given = {name: value for name, value in options.items() if value is not None}
        place = Place(self.option("url"), given, self.option("virtual"))
        self._latest = IcechunkDriver(place, self._wanted(), self.capabilities, at_last=self._at_last)
        return self._latest

    @property
    def capabilities(self) -> Capabilities:
        """See `BaseStore`; what follows from the options, so that a store tells it also where it cannot be used."""
        wanted, scheme = self._wanted(), location_of(self.option("url")).scheme
        writable = bool(wanted.branch) and self.option("mode") == "w" and scheme not in {"http", "https"}
        return Capabilities(
            write=writable,
            erase=writable,
            list=True,
            swap=writable,
            swap_erases=writable,
            native_ranges=True,
            shared=not writable,
            persistent=not writable or self.option("commit") is not None,
            durable=not writable,
        )

    def _wanted(self) -> Wanted:
        tag, snapshot = self.option("tag"), self._pinned or self.option("snapshot")
        branch = (self.option("branch") or "main") if tag is None and snapshot is None else None
        return Wanted(branch, tag if snapshot is None else None, snapshot)

    # ------------------------------------------------------------ versions

    @property
    def snapshot_id(self) -> str | None:
        """The snapshot that is shown, or that changes lie on; `None` where there is no repository yet."""
        session = self.driver.session
        return None if session is None else str(session.snapshot_id)

    @property
    def has_changes(self) -> bool:
        """Whether something was written that is not committed."""
        live = self.live_driver
        return live is not None and live.is_changed

    def commit(self, message: str, *, rebase: Solver | None = None, empty: bool = False) -> str:
        """Make what was written since the last commit a snapshot of the branch, and return its id.

        Args:
            message: what the history will say.
            rebase: what to do if others have committed to the branch meanwhile. `None`: raise `CommitConflictError`. `"detect"`: put
                these changes on top of theirs unless both touch the same. `"ours"`, `"theirs"`: of a chunk that both have written,
                keep this store's, or theirs.
            empty: commit also where nothing has been written, as a note in the history.

        After an error nothing is lost: the changes are there, and can be committed again. Raises `StoreError` where there are none.
        """
        with self.using_driver("commit to", capability="write") as driver, self._conflicts():
            found = driver.commit(message, _solver(rebase) if rebase else None, empty=empty)
        if found is None:
            raise StoreError(
                f"nothing to commit: {self.describe()} has no changes since snapshot {self.snapshot_id}"
            )
        self._is_given_up = False
        name: str = found
        return name

    def rebase(self, solver: Solver = "detect") -> None:
        """Go to the newest snapshot of the branch, with the changes of this store on top of it; see `commit`."""
        if self._wanted().branch is None:
            raise UnsupportedError(f"{self.describe()} shows one snapshot, which does not change")
        with self.using_driver("rebase") as driver, self._conflicts():
            driver.rebase(_solver(solver))

    def discard(self) -> None:
        """Forget what was written since the last commit."""
        with self.using_driver("discard changes of") as driver:
            driver.discard()
        self._is_given_up = False

    def history(self) -> Iterator[Snapshot]:
        """The snapshot that is shown and all before it, the newest first."""
        with self.using_driver("read the history of") as driver:
            for one in driver.history():
                yield Snapshot(one.id, one.parent_id, one.written_at, one.message, dict(one.metadata))

    def branches(self) -> dict[str, str]:
        """The branches of the repository, each with its newest snapshot."""
        with self.using_driver("list the branches of") as driver:
            names: dict[str, str] = driver.names("branch")
            return names

    def tags(self) -> dict[str, str]:
        """The tags of the repository, each with its snapshot."""
        with self.using_driver("list the tags of") as driver:
            names: dict[str, str] = driver.names("tag")
            return names

    def create_branch(self, name: str) -> None:
        """Begin a branch at the snapshot that is shown; changes that are not committed are not in it."""
        with self.using_driver(f"create the branch {name!r} in") as driver:
            driver.create("branch", name)

    def create_tag(self, name: str) -> None:
        """Give the snapshot that is shown a name for good; changes that are not committed are not in it."""
        with self.using_driver(f"create the tag {name!r} in") as driver:
            driver.create("tag", name)

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        """Raise `CommitConflictError` for icechunk's."""
        try:
            yield
        except Exception as error:
            names = {cls.__name__ for cls in type(error).__mro__}
            if not names & {"ConflictError", "RebaseFailedError"}:
                raise
            version = f"{self._wanted()} of {self.describe()}"
            if "RebaseFailedError" in names:
                found = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], list) else []
                what = ", ".join(
                    f"{str(one.conflict_type).rpartition('.')[2]} at {one.path}" for one in found
                )
                raise CommitConflictError(
                    f"the changes do not fit onto what others have committed to {version}: {what or error}; they are still here: "
                    "rebase('ours') keeps these chunks where both have written, rebase('theirs') the others', and "
                    "discard() gives these changes up"
                ) from error
            raise CommitConflictError(
                f"others have committed to {version} since this session began; the changes are still here: rebase(), then "
                "commit again, or commit(…, rebase='detect'); discard() gives them up"
            ) from error

    # ------------------------------------------------------------ life

    @property
    def several_writers(self) -> str:
        """See `BaseStore`: each process has a session of its own."""
        if not self.capabilities.write:
            return super().several_writers
        return "yes, because each has a session of its own, and a commit is refused where others have changed the same"

    def flush(self) -> None:
        """Commit if the option `commit` is given; otherwise only `commit` makes changes visible to others and lets them outlive this process."""
        if self.given_options["commit"] is not None and self.has_changes:
            self._commit_unasked()

    def close(self) -> None:
        """Commit what is left and release everything; further calls raise `StoreClosedError`.

        Where that fails, or an exception is propagating that may have come in the middle of a change, the store stays as it is
        and says so, in the first case by an error, in the other by an `UncommittedWarning`.
        """
        if self.has_changes:
            error = sys.exc_info()[1]
            if error is not None and error is not self._born_in:
                self._give_up(error)
                return
            if self._is_given_up:
                raise StoreError(
                    f"{self.describe()} has changes that were not committed when an error came; commit(message) or discard() "
                    "before it is closed"
                )
            self._commit_unasked()
        super().close()

    def _give_up(self, error: BaseException) -> None:
        """Warn once that from now on nothing is committed unless it is asked for."""
        if not self._is_given_up:
            self._is_given_up = True
            warnings.warn(
                f"{self.describe()} is left open with changes that are not committed, because of a {type(error).__name__}: "
                "commit(message) keeps them, discard() or the end of the process gives them up",
                UncommittedWarning,
                stacklevel=3,
            )

    def _commit_unasked(self) -> None:
        self.commit(self.option("commit") or UNTOLD, rebase="detect")

    def _at_last(self) -> None:
        """At the end of the process: commit what is left, as closing would."""
        if self._is_given_up or not self.has_changes:
            return
        failed = getattr(sys, "last_value", None)
        try:
            if failed is None or hasattr(sys, "ps1"):  # of an interactive session, errors mean nothing
                self._commit_unasked()
                return
        except Exception as error:  # noqa: BLE001 - told below
            failed = error
        warnings.warn(
            f"what was written to {self.describe()} is lost: it was not committed, because of a {type(failed).__name__}: {failed}",
            UncommittedWarning,
            stacklevel=2,
        )

    # ------------------------------------------------------------ description

    def plain_error(self, error: Exception) -> Exception:
        """See `Backend`."""
        return plain(error)

    def identity(self) -> Any:
        """See `BaseStore`; a message is not part of it."""
        return {name: value for name, value in self.changed_options().items() if name != "commit"}

    def address(self, folder: str) -> Address:
        """See `BaseStore`: each version of a repository is a place of its own."""
        location = location_of(self.option("url"))
        version = f"{self._wanted()}/{folder}"
        if location.scheme == "file":
            return Address(location.prefix, version)
        return Address(None, f"{location.scheme}://{location.container}/{location.prefix}/{version}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration; a copy of what is only read shows the snapshot that is shown here."""
        if self.has_changes:
            raise UnsupportedError(
                f"{self.describe()} has changes that are not committed, which live in this process only: commit before others use it"
            )
        pinned = self._pinned
        is_live, can = self.live_driver is not None, self.capabilities
        if is_live and not can.write and self._wanted().branch:
            pinned = self.snapshot_id
        return *super().__reduce__(), {"_pinned": pinned}


@contextmanager
def _example() -> Iterator[str]:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        yield f"icechunk+{(Path(folder) / 'repository').as_uri()}"


def _solver(name: Solver) -> Any:
    icechunk = library()
    if name == "detect":
        return icechunk.ConflictDetector()
    if name not in {"ours", "theirs"}:
        raise ConfigurationError(f"a solver is 'detect', 'ours' or 'theirs', not {name!r}")
    kept = icechunk.VersionSelection.UseOurs if name == "ours" else icechunk.VersionSelection.UseTheirs
    return icechunk.BasicConflictSolver(on_chunk_conflict=kept)


_STORAGE = (
    "anon",
    "endpoint_url",
    "key",
    "secret",
    "token",
    "region",
    "account_name",
    "account_key",
    "sas_token",
    "headers",
)
"""Our options that say how and as whom the storage is reached."""
