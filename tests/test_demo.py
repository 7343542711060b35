"""The demo: what it prints, draws and notices."""

import importlib.util
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import nibabel
import numpy as np
import pytest
import skimage.data
from PIL import Image

import zarrv3

Backends = Callable[[str], Iterable[tuple[str, str]]]

SCRIPT = Path(__file__).parents[1] / "examples" / "demo.py"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder, where temporary files go too."""
    (folder / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(
        [sys.executable, SCRIPT], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )


def cells(output: str, backend: str) -> list[str]:
    """The cells of a backend's line in the table."""
    line = next(line for line in output.splitlines() if line.startswith(f"│ {backend} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_the_table_and_the_picture(tmp_path: Path) -> None:
    """Every backend has a line that says its bytes and speeds, and the picture shows the original values."""
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    name, url, objects, stored, ratio, *speeds, outcome = cells(ended.stdout, "directory")
    assert (name, url, outcome) == ("directory", "file:///.../directory.zarr", "equal, by a new process")
    scan = nibabel.load(Path(nibabel.__file__).parent / "tests/data/example4d.nii.gz").dataobj.get_unscaled()
    field = skimage.data.hubble_deep_field()
    size, nbytes = int(stored.replace(",", "")), scan.nbytes + field.nbytes
    assert int(objects) == 3 + 2 * 2 * 2 * 2 + 4 * 4  # documents, chunks of the scan, chunks of the image
    assert float(ratio) == pytest.approx(nbytes / size, abs=0.01)
    assert nbytes / 4 < size < nbytes
    assert all(float(speed) > 0 for speed in speeds)
    assert cells(ended.stdout, "memory")[-1] == "equal, by this process"
    assert "demo-output/slices.png" in ended.stdout
    picture = np.asarray(Image.open(tmp_path / "demo-output" / "slices.png"))
    height, top = len(field), 2 * 2 * scan.shape[1]
    assert picture.shape == (top + height, 4 * 2 * scan.shape[0], 3)
    assert np.array_equal(picture[top:, : field.shape[1]], field)
    brightest = scan[:, :, 3:23:5].max()
    for place, z in enumerate((3, 8, 13, 18)):
        for t in range(2):
            drawn = picture[t * top // 2 : (t + 1) * top // 2 : 2, place * 256 : (place + 1) * 256 : 2, 1]
            expected = np.floor(scan[:, ::-1, z, t].T * (255 / brightest))
            assert np.array_equal(drawn, expected)


def test_nothing_but_the_picture_is_left(tmp_path: Path) -> None:
    """The data are temporary; the picture is the only file that stays, and a dumb terminal is enough."""
    ended = run(tmp_path, TERM="dumb", NO_COLOR="1", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.isascii()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["slices.png"]


def damage_bytes(chunk: Path) -> None:
    """Change a chunk so that it cannot be decoded."""
    chunk.write_bytes(chunk.read_bytes()[:-20])


def swap_chunks(chunk: Path) -> None:
    """Give a chunk the valid bytes of another one."""
    chunk.write_bytes(chunk.with_name("1").read_bytes())


def change_attributes(chunk: Path) -> None:
    """Change a voxel size in the metadata."""
    document = next(parent for parent in chunk.parents if parent.name == "mri") / "zarr.json"
    document.write_text(document.read_text().replace("2000.0", "3000.0"))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_bytes, "mri/c/0/0/0/0"),
        (swap_chunks, "elements of mri differ"),
        (change_attributes, "attributes or dimension names of mri differ"),
    ],
)
def test_damage_is_noticed(
    demo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    said: str,
) -> None:
    """What changes between writing and comparing fails, is named in the table, and makes the exit code 1."""
    write = demo.write

    def write_and_damage(result: Any, images: Any, progress: Any) -> None:
        write(result, images, progress)
        if result.backend == "directory":
            damage(Path(url2pathname(urlsplit(result.url).path)) / "mri/c/0/0/0/0")

    monkeypatch.setattr(demo, "write", write_and_damage)
    monkeypatch.setattr(demo, "backends", only_directory_and_memory(demo.backends))
    assert demo.main(["--output", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "FAILED" in cells(output, "directory")[-1]
    assert said.replace(" ", "") in unfolded(output)
    assert cells(output, "memory")[-1].startswith("equal,")
    assert "drawn from the store memory" in output


def test_the_other_process_says_no(demo: ModuleType, tmp_path: Path) -> None:
    """The process that compares ends with an error for data that are not there."""
    with pytest.raises(ValueError, match="there is no array"):
        demo.compare_in_new_process((tmp_path / "missing").as_uri())


class Served(zarrv3.MemoryStore):
    """A store that is said to need a server."""

    kind = "served"
    running = 0

    @classmethod
    def example_url(cls, folder: str) -> None:
        """None without the server."""

    @classmethod
    @contextmanager
    def example_server(cls) -> Iterator[str]:
        """Nothing but a note that it runs."""
        cls.running += 1
        yield f"memory://{uuid.uuid4()}"
        cls.running -= 1


class Absent(Served):
    """A store whose server is in a package that is not installed."""

    kind = "absent"

    @classmethod
    def example_server(cls) -> AbstractContextManager[str]:
        """Fails as the import does."""
        raise ImportError("No module named 'absent_server'")


@pytest.mark.parametrize(
    ("classes", "options", "code"),
    [([Served], [], 0), ([Served], ["--servers"], 0), ([Absent, Served], ["--servers"], 1)],
)
def test_servers_are_started_when_asked_for(
    demo: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    classes: list[type],
    options: list[str],
    code: int,
) -> None:
    """With `--servers` a server runs while its backend is shown and is stopped then; one that is missing is a failure."""
    running = []
    run = demo.run

    def note(result: Any, images: Any, progress: Any) -> None:
        running.append((result.backend, Served.running))
        run(result, images, progress)

    monkeypatch.setattr(demo, "run", note)
    monkeypatch.setattr(demo, "classes", lambda: iter([zarrv3.MemoryStore, *classes]))
    assert demo.main(["--output", str(tmp_path), *options]) == code
    shown = [("served", 1)] if options else []
    assert running == [("memory", len(shown)), *shown]
    assert Served.running == 0
    output = capsys.readouterr().out
    if options:
        assert cells(output, "served")[-1] == "equal, by this process"
    if code:
        assert "FAILED:noserver:ImportError:Nomodulenamed'absent_server'" in unfolded(output)


def only_directory_and_memory(backends: Backends) -> Backends:
    """The demo's search for backends without those that this test does not know."""
    return lambda folder: [(name, url) for name, url in backends(folder) if name in {"directory", "memory"}]


def unfolded(table: str) -> str:
    """The text of a table's last column in one piece, without spaces."""
    lines = [line for line in table.splitlines() if line.startswith("│")]
    return "".join(line.strip("│").rsplit("│", 1)[-1].strip().replace(" ", "") for line in lines)
