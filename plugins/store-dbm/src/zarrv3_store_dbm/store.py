"""`DBMStore`: what a user says, as options."""

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from zarrv3.errors import (
    ConfigurationError,
    StoreAccessError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from zarrv3.options.urls import boolean
from zarrv3.store.backend import ErrorTable
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
    """A database of one of Python's `dbm` modules, or of a library like them; `dbm:///absolute/path`.

    Safe to use from many threads, and by one process at a time: a second one that writes, or that reads while the first
    writes, is told so. Nothing is created before the first write. Close the store, or use it in a `with` block; `flush` and
    `close` bring what was written to the disk.

    Args:
        path: of the database; the modules add endings of their own to it.
        flag: `r` to read what exists, `w` to change what exists, `c` to make what does not exist, `n` to begin anew with
            the first write; `dbm.gnu` takes more letters after that.
        mode: permissions of new files.
        open: a function that opens a database, as `dbm.gnu.open` does; it gets the path, the flag, the mode and `open_kwargs`.
        write_lock: accepted for the sake of old code; readers and writers of one process always wait for each other.
        dimension_separator: the separator that arrays created here use by default: `.` or `/`.
        module: the name of one of Python's modules instead of a function: `dumb`, `gnu`, `ndbm` or `sqlite3`. Without either
            it is the one that wrote the database, and `dumb` for a new one.
        open_kwargs: for `open`.
    """

    kind = "dbm"
    example_name = "data.dbm"
    live_options = ("open",)
    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "flag": str,
        "mode": lambda text: int(text, 8),
        "module": str,
        "write_lock": boolean,
        "dimension_separator": str,
    }
    errors: ClassVar[ErrorTable] = {
        TimeoutError: StoreTimeoutError,
        ConnectionError: StoreUnavailableError,
        Exception: StoreAccessError,  # an open function may raise whatever its library has
    }

    def __init__(
        self,
        path: str | os.PathLike[str],
        flag: str = "c",
        mode: int = 0o666,
        open: OpenFunction | None = None,
        write_lock: bool = True,
        dimension_separator: Literal[".", "/"] | None = None,
        *,
        module: str | None = None,
        **open_kwargs: Any,
    ) -> None:
        function, module = _checked(open, module, open_kwargs)
        if flag[:1] not in {"r", "w", "c", "n"} or (len(flag) > 1 and function is None and module != "gnu"):
            raise ConfigurationError(
                f"flag must be 'r', 'w', 'c' or 'n' (with module='gnu' more letters may follow), not {flag!r}"
            )
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
        self._flag = flag[0]

    def connect(self) -> Driver:
        """The driver over the path; the database is opened when it is first needed."""
        path, function = self.path, self._options["open"]
        used = in_use(path)  # then the file is left alone: closing it again would drop SQLite's locks
        module = FOREIGN if function else self._options["module"]
        if module is None:
            found = used or module_of(path)
            module = DEFAULT if found is None or (self._flag == "n" and not used) else found
        if module not in {FOREIGN, DEFAULT}:
            imported(module, path)
        place = Place(
            path=path,
            module=module,
            open=function,
            options={name: self.option(name) for name in self._others},
            mode=self._options["mode"],
            letters=self._options["flag"][1:],
        )
        if not used and self._flag != "n" and not place.exists() and self._flag != "c":
            raise StoreAccessError(
                f"there is no dbm database at {path!r}; flag={self._flag!r} opens what exists, flag='c' makes one"
            )
        return (DumbDriver if module == "dumb" else DBMDriver)(place, self._flag, self._begun)

    def _begun(self) -> None:
        """A database that was to be new has been made: from now on, in forked children too, it is not to be made again."""
        self._flag = "c"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the options; a copy never starts over."""
        made, (cls, options) = super().__reduce__()
        flag = options["flag"]
        return made, (cls, {**options, "flag": flag.replace("n", "c", 1) if flag[0] == "n" else flag})

    def _identity(self) -> Any:
        names = ("open", "module", *self._others)
        return {"path": self.path, **{name: self._options[name] for name in names}}


def _checked(
    function: OpenFunction | None, module: str | None, open_kwargs: Mapping[str, Any]
) -> tuple[OpenFunction | None, str | None]:
    """Function and module, of which there is one at most: `dbm.gnu.open` is the module `gnu`, `dbm.open` is neither."""
    if function is not None and module is not None:
        raise ConfigurationError("give open= or module=, not both")
    if function is not None and not callable(function):
        raise ConfigurationError(f"open= is a function, as dbm.gnu.open; not {type(function).__name__}")
    if function is not None and (named := module_named(function)):
        function, module = None, named
    if getattr(function, "__module__", None) == "dbm":
        function = None
    if module is not None and module not in MODULES:
        raise ConfigurationError(f"module is one of {', '.join(MODULES)}, not {module!r}")
    if function is None and open_kwargs:
        known = "path, flag, mode, open, write_lock, dimension_separator, module"
        name = min(open_kwargs)
        raise ConfigurationError(
            f"'dbm' has no option {name!r}; its options are: {known}, and with open= what the function takes"
        )
    return function, module
