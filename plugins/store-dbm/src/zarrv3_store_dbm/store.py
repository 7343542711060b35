"""`DBMStore`: its options and URL."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from zarrv3.errors import (
    ConfigurationError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.options.declared import Option, unknown_option
from zarrv3.options.environment import Template
from zarrv3.store.backend import ErrorTable
from zarrv3.store.base import Address, Separator
from zarrv3.store.contract import Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3_store_dbm.databases import in_use
from zarrv3_store_dbm.driver import DBMDriver, DumbDriver
from zarrv3_store_dbm.modules import (
    DEFAULT,
    FOREIGN,
    MODULES,
    OpenFunction,
    Place,
    imported,
    module_named,
    module_of,
)


class DBMStore(FileBackend):
    """A database of one of Python's `dbm` modules, or of a similar library; `dbm:///absolute/path`.

    Safe to use from many threads, and by one process at a time: a second one that writes, or reads while the
    first writes, gets an error. Nothing is created before the first write. Close the store or use it in a
    `with` block; `flush` and `close` bring writes to the disk.
    """

    kind = "dbm"
    example_name = "data.dbm"
    errors: ClassVar[ErrorTable] = {
        TimeoutError: StoreTimeoutError,
        ConnectionError: StoreUnavailableError,
        Exception: StoreAccessError,  # an open function may raise any exception of its library
    }

    def __init__(
        self,
        path: Annotated[
            str | os.PathLike[str],
            Option("the path of the database; modules add endings of their own"),
        ],
        flag: Annotated[
            str,
            Option(
                "`r` reads what exists, `w` changes what exists, `c` makes what does not exist, `n` starts afresh with the "
                "first write; with the module `gnu` more letters may follow",
                check=lambda flag: flag[:1] in {"r", "w", "c", "n"},
                takes="`'r'`, `'w'`, `'c'` or `'n'`",
            ),
        ] = "c",
        mode: Annotated[
            int,
            Option(
                "permissions of new files; text is read as octal",
                convert=lambda text: int(text, 8),
                show=oct,
                takes="permissions such as `666`",
            ),
        ] = 0o666,
        open: Annotated[
            OpenFunction | None,
            Option(
                "a function like `dbm.gnu.open` or `bsddb3.btopen`: called with the path, the flag, the mode and all other options",
                live=True,
            ),
        ] = None,
        write_lock: Annotated[
            bool, Option("has no effect: readers and writers of one process always exclude each other")
        ] = True,
        dimension_separator: Separator = None,
        *,
        module: Annotated[
            str | None,
            Option(
                "one of Python's modules; by default the one that wrote the database, and `dumb` for a new one",
                check=lambda module: module in MODULES,
                takes=f"one of {', '.join(f'`{name}`' for name in MODULES)}",
            ),
        ] = None,
        **open_kwargs: Annotated[Any, Option("what the function `open` takes")],
    ) -> None:
        function, module = _checked(open, module, open_kwargs)
        letters = len(flag) > 1 and not isinstance(flag, Template) and not isinstance(module, Template)
        if letters and function is None and module != "gnu":
            raise ConfigurationError(f"more than one letter in {flag!r} needs module='gnu' or open=")
        super().__init__(
            path,
            flag=flag,
            mode=mode,
            open=function,
            write_lock=write_lock,
            dimension_separator=dimension_separator,
            module=module,
            **open_kwargs,
        )
        self._others = tuple(open_kwargs)
        self._has_begun = False

    @property
    def _flag(self) -> str:
        return "c" if self._has_begun else self.option("flag")[0]

    def connect(self) -> Driver:
        """The driver over the path; the database is opened when it is first needed."""
        path, function = self.path, self.option("open")
        used = in_use(path)  # then the file is left alone: closing it again would drop SQLite's locks
        module = FOREIGN if function else self.option("module")
        if module is None:
            existing = used or module_of(path)
            module = DEFAULT if existing is None or (self._flag == "n" and not used) else existing
        if module not in {FOREIGN, DEFAULT}:
            imported(module, path)
        place = Place(
            path=path,
            module=module,
            open=function,
            options={name: self.option(name) for name in self._others},
            mode=self.option("mode"),
            letters=self.option("flag")[1:],
        )
        if not used and self._flag != "n" and not place.exists() and self._flag != "c":
            raise StoreAccessError(
                f"there is no dbm database at {path!r}; flag={self._flag!r} opens what exists, flag='c' makes one"
            )
        return (DumbDriver if module == "dumb" else DBMDriver)(place, self._flag, self._begun)

    def _begun(self) -> None:
        """The new database has been made: from now on, in forked children too, it is not made again."""
        self._has_begun = True

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options; a copy never starts over."""
        made, (cls, options) = super().__reduce__()
        flag = options["flag"]
        return made, (
            cls,
            {**options, "flag": type(flag)(flag.replace("n", "c", 1)) if flag[0] == "n" else flag},
        )

    def identity(self) -> Any:
        """The path, and what opens the database."""
        names = ("open", "module", *self._others)
        return {"path": self.path, **{name: self.given_options[name] for name in names}}

    def address(self, folder: str) -> Address:
        """See `BaseStore`; modules add endings of their own to the path."""
        files = (self.path + ending for ending in ("", ".db", ".dat", ".pag"))
        return Address(next(filter(os.path.exists, files), self.path), folder)


def _checked(
    function: OpenFunction | None, module: str | None, open_kwargs: Mapping[str, Any]
) -> tuple[OpenFunction | None, str | None]:
    """Function or module, at most one of them: `dbm.gnu.open` is the module `gnu`, `dbm.open` is neither."""
    if function is not None and module is not None:
        raise ConfigurationError("give open= or module=, not both")
    if function is not None and (named := module_named(function)):
        function, module = None, named
    if getattr(function, "__module__", None) == "dbm":
        function = None
    if function is None and open_kwargs:
        known = ("path", "flag", "mode", "open", "write_lock", "dimension_separator", "module")
        raise unknown_option("dbm", min(open_kwargs), known)
    return function, module
