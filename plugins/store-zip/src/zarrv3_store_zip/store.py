"""`ZipStore`: its options and URL."""

from __future__ import annotations

import os
import zipfile
from typing import Annotated, Any, ClassVar, Literal

from zarrv3.errors import ConfigurationError, LimitError, StoreAccessError
from zarrv3.options.declared import Option
from zarrv3.store.backend import ErrorTable
from zarrv3.store.base import Separator
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


def compression_of(text: str) -> int:
    """A method of compression by its name or number."""
    return METHODS[text] if text in METHODS else int(text)


class ZipStore(FileBackend):
    """A zip archive, one entry per key; `zip:///absolute/path.zip` or `file:///absolute/path.zip|zip:`.

    Values may be replaced and erased. Changes are seen by all stores of this process at once; `flush` and
    `close` replace the archive by one with all changes in one step; until then the old one stays as it is.
    One process at a time may have unflushed changes. Safe to use from many threads. Nothing is created before
    the first write.
    """

    kind = "zip"
    example_name = "zip.zip"
    errors: ClassVar[ErrorTable] = {zipfile.LargeZipFile: LimitError, zipfile.BadZipFile: StoreAccessError}

    def __init__(
        self,
        path: Annotated[str | os.PathLike[str], Option("the archive; it need not exist yet")],
        compression: Annotated[
            int,
            Option(
                "how new values are compressed: by default not at all, since chunks are compressed already",
                convert=compression_of,
                check=lambda method: method in METHODS.values(),
                takes=", ".join(f"{number} (`{name}`)" for name, number in METHODS.items()),
            ),
        ] = zipfile.ZIP_STORED,
        allowZip64: Annotated[  # noqa: N803 - zarr-python's
            bool,
            Option("let the archive grow beyond 2 GiB and 65,535 entries; otherwise such a write is refused"),
        ] = True,
        mode: Annotated[
            Literal["r", "w", "a", "x"],
            Option(
                "`r` reads what is there, `w` starts afresh, `a` reads and writes, `x` creates what must not exist"
            ),
        ] = "a",
        dimension_separator: Separator = None,
        *,
        fsync: Annotated[bool, Option("return from `flush` only once the archive is on the disk")] = True,
    ) -> None:
        if hasattr(path, "read"):
            raise ConfigurationError("an archive in an open file is read by zarrv3.storage.ZipStore(file)")
        super().__init__(
            path,
            compression=compression,
            allowZip64=allowZip64,
            mode=mode,
            dimension_separator=dimension_separator,
            fsync=fsync,
        )

    def connect(self) -> Driver:
        """The driver over the archive, which is shared within the process; its directory is read."""
        driver = ZipDriver(
            archive_at(self.path),
            mode=self.option("mode"),
            compression=self.option("compression"),
            zip64=self.option("allowZip64"),
            fsync=self.option("fsync"),
        )
        if self.option("mode") in {"w", "x"}:
            self.given_options = {**self.given_options, "mode": "a"}
        return driver

    def spec(self) -> dict[str, JSON]:
        """See `BaseStore`; for what is there now, so `w` and `x` become `a`."""
        spec = super().spec()
        if self._later_mode() == "a":
            spec.pop("mode", None)
        return spec

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the configuration: the copy does not start over."""
        rebuild, (cls, options) = super().__reduce__()
        return rebuild, (cls, {**options, "mode": self._later_mode()})

    def _later_mode(self) -> str:
        mode: str = self.given_options["mode"]
        return "a" if mode in {"w", "x"} else mode

    def identity(self) -> Any:
        """The path and the options that affect the archive, without how it was opened."""
        return {**self.changed_options(), "path": self.path, "mode": None, "fsync": None}
