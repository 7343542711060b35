"""Making archives, and looking into them as other programs do."""

import zipfile
from pathlib import Path

from zarrv3_store_zip import ZipStore


def names(folder: Path) -> list[str]:
    """The files in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


def content(path: Path) -> dict[str, bytes]:
    """What `zipfile` finds in an archive, whose names are unique and whose checksums are right."""
    with zipfile.ZipFile(path) as opened:
        found = opened.namelist()
        assert len(found) == len({*found})
        assert opened.testzip() is None
        return {name: opened.read(name) for name in found}


def fill(path: Path, **items: bytes) -> None:
    """Make an archive."""
    with ZipStore(path, fsync=False) as store:
        store.update(items)
