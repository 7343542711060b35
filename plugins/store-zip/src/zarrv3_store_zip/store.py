"""`ZipStore`: what a user says, as options."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from zarrv3.errors import ConfigurationError, LimitError, StoreAccessError
from zarrv3.options.environment import Template
from zarrv3.options.urls import boolean
from zarrv3.store.backend import ErrorTable
from zarrv3.store.contract import JSON, Driver
from zarrv3.store.file_backend import FileBackend
from zarrv3_store_zip.archive import archive_at
from zarrv3_store_zip.driver import ZipDriver

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
MODES = ("r", "w", "a", "x")


def compression_of(text: str) -> int:
    """A method of compression by its name or number."""
    return METHODS[text] if text in METHODS else int(text)


class ZipStore(FileBackend):
    """A zip archive, one entry a key; `zip:///absolute/path.zip` or `file:///absolute/path.zip|zip:`.

    Values may be replaced and erased. Changes are seen by all stores of this process at once; `flush` and `close` put an
    archive with all changes in the place of the old one, in one step: until then the old one stays as it is. One process
    at a time may have unflushed changes. Safe to use from many threads. Nothing is created before the first write.

    Args:
        path: the archive; it need not exist yet.
        compression: of new values, a constant of `zipfile`; chunks are compressed already, so by default not at all.
        allowZip64: let the archive grow beyond 2 GiB and 65,535 entries; else a write that would is refused.
        mode: `r` reads what is there, `w` begins anew, `a` reads and writes, `x` creates what must not exist.
        dimension_separator: the separator that arrays created here use by default: `.` or `/`.
        fsync: return from `flush` only when the archive is on the disk.
    """

    kind = "zip"
    example_name = "zip.zip"
    errors: ClassVar[ErrorTable] = {zipfile.LargeZipFile: LimitError, zipfile.BadZipFile: StoreAccessError}
    option_types: ClassVar[Mapping[str, Callable[[str], Any]]] = {
        "compression": compression_of,
        "allowZip64": boolean,
        "mode": str,
        "dimension_separator": str,
        "fsync": boolean,
    }

    def __init__(
        self,
        path: str | os.PathLike[str],
        compression: int = zipfile.ZIP_STORED,
        allowZip64: bool = True,  # noqa: N803 - the seed's
        mode: Literal["r", "w", "a", "x"] = "a",
        dimension_separator: Literal[".", "/"] | None = None,
        *,
        fsync: bool = True,
    ) -> None:
        super().__init__(
            path,
            compression=compression,
            allowZip64=allowZip64,
            mode=mode,
            dimension_separator=dimension_separator,
            fsync=fsync,
        )
        if mode not in MODES and not isinstance(mode, Template):
            raise ConfigurationError(f"mode {mode!r} of 'zip' is none of {', '.join(map(repr, MODES))}")
        if compression not in METHODS.values():
            known = ", ".join(f"{number} ({name})" for name, number in METHODS.items())
            raise ConfigurationError(f"compression {compression!r} of 'zip' is none of {known}")

    def connect(self) -> Driver:
        """The driver over the archive, which is shared within the process; its directory is read."""
        driver = ZipDriver(
            archive_at(self.path),
            mode=self.option("mode"),
            compression=self._options["compression"],
            zip64=self._options["allowZip64"],
            fsync=self._options["fsync"],
        )
        self._options = {**self._options, "mode": self._later_mode()}
        return driver

    def spec(self) -> dict[str, JSON]:
        """As for every store, for what is there now, so that `w` and `x` become `a`."""
        spec = super().spec()
        if self._later_mode() == "a":
            spec.pop("mode", None)
        return spec

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration: the copy does not start over."""
        rebuild, (cls, options) = super().__reduce__()
        return rebuild, (cls, {**options, "mode": self._later_mode()})

    def _later_mode(self) -> str:
        mode: str = self._options["mode"]
        return "a" if mode in {"w", "x"} else mode

    def _identity(self) -> Any:
        return {**self._changed_options(), "path": self.path, "mode": None, "fsync": None}
