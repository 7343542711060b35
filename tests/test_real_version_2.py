"""Version 2 as people have it: hierarchies that packages ship in their source distributions, written over the years."""

import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import zarr

import zarrv3


class Shipped(NamedTuple):
    """What a package ships."""

    package: str
    roots: Mapping[str, int]
    """Where hierarchies are in its archive, and how many arrays each has."""
    unread: int = 0
    """How many of them zarr-python 3 refuses: texts whose fill value is the number 0."""


ANNDATA = "tests/data/archives/v{}/adata.zarr.zip"
SHIPPED = [
    Shipped(
        "anndata==0.12.19", {ANNDATA.format(v): n for v, n in {"0.7.0": 79, "0.7.8": 83, "0.11.4": 2}.items()}
    ),
    pytest.param(Shipped("zarr==2.18.3", {"fixture": 173}, unread=14), marks=pytest.mark.slow),
]


def unpacked(archive: Path, roots: Mapping[str, int], folder: Path) -> Iterator[tuple[Path, int]]:
    """The hierarchies of an archive, unpacked, and how many arrays each has."""
    with tarfile.open(archive) as content:
        wanted = [member for member in content if member.name.partition("/")[2].startswith((*roots,))]
        content.extractall(folder, wanted, filter="data")
    [top] = folder.iterdir()
    for index, (root, count) in enumerate(roots.items()):
        path = top / root
        if path.suffix == ".zip":
            shutil.unpack_archive(path, folder / str(index))
            path = folder / str(index)
        yield path, count


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: re.sub("=.*", "", shipped.package))
@pytest.mark.filterwarnings("ignore::UserWarning:zarr", "ignore:The data type")
def test_what_packages_ship(
    shipped: Shipped, source_distribution: Callable[[str], Path], tmp_path: Path
) -> None:
    """Every array and group has the values and attributes that zarr-python reads there, and in a copy as Zarr V3.

    Of the copy zarr-python reads all but records, which old versions of it do not know in Zarr V3.
    """
    unread = 0
    for root, count in unpacked(source_distribution(shipped.package), shipped.roots, tmp_path / "unpacked"):
        old, new = zarrv3.open_store(f"{root}|zarr2:"), tmp_path / "new"
        report = zarrv3.copy(old, new, overwrite=True, verify=True)
        copied = zarrv3.open_store(new)
        documents = [path.parent for name in (".zarray", ".zgroup") for path in root.rglob(name)]
        nodes = sorted({str(path.relative_to(root)).removeprefix(".") for path in documents})
        assert (report.arrays, report.arrays + report.groups, report.not_carried) == (count, len(nodes), ())
        for path in nodes:
            try:
                theirs = zarr.open(root, path=path, mode="r", zarr_format=2)
            except TypeError:
                unread += 1
                continue
            ours = [zarrv3.open(zarrv3.Prefix(store, path), mode="r") for store in (old, copied)]
            is_record = getattr(theirs, "dtype", np.dtype("i1")).names is not None
            again = [] if is_record else [zarr.open(new, path=path, mode="r", zarr_format=3)]
            assert {content(node) for node in (*ours, *again)} == {content(theirs)}
    assert unread == shipped.unread


def content(node: Any) -> str:
    """The attributes of a node, and the elements if it is an array; NaN equals itself in texts."""
    return repr((dict(node.attrs), np.asarray(node[...]).tolist() if hasattr(node, "shape") else None))
