"""zarr-python's own documentation, run with `import zarrv3 as zarr`: what does not run stands in `docs/migrating.md`."""

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import textwrap
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

VERSION = "3.4.2"
FENCE = re.compile(r"^ *```python([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TESTED = re.compile(r'\b(exec|test)="true"')
RUNS = 571
"""How many of the 591 statements run at least; of zarr-python itself, with a bucket to write to, 582."""

RUNNER = """
import ast, asyncio, contextlib, inspect, io, json, os, sys, types, warnings
warnings.simplefilter("ignore")
module = sys.modules["page"] = types.ModuleType("page")
failed = []
for source in json.load(sys.stdin):
    for statement in ast.parse(source).body:
        code = compile(ast.Module([statement], []), "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                done = eval(code, vars(module))
                if inspect.iscoroutine(done):
                    asyncio.run(done)
            except BaseException as error:
                failed.append(f"{ast.unparse(statement)[:200]}\\n    {type(error).__name__}: {str(error)[:200]}")
sys.__stdout__.write(json.dumps(failed))
sys.__stdout__.flush()
os._exit(0)
"""


def translated(source: str) -> str:
    """A block with the one change that a user makes."""
    source = re.sub(
        r"^( *)from zarr(\.[\w.]+)? import", r"\1from zarrv3\2 import", source, flags=re.MULTILINE
    )
    source = re.sub(r"^( *)import zarr$", r"\1import zarrv3 as zarr", source, flags=re.MULTILINE)
    return re.sub(
        r"^( *)import zarr\.([\w.]+)$",
        r"\1import zarrv3.\2; import zarrv3 as zarr",
        source,
        flags=re.MULTILINE,
    )


@pytest.fixture(scope="module")
def pages(source_distribution: Callable[[str], Path]) -> dict[str, list[str]]:
    """The blocks of each page that zarr-python's own tests run, from its source distribution."""
    found: dict[str, list[str]] = {}
    with tarfile.open(source_distribution(f"zarr=={VERSION}")) as archive:
        for member in archive:
            if "/docs/" in member.name and member.name.endswith(".md"):
                file = archive.extractfile(member)
                assert file is not None
                blocks = [
                    textwrap.dedent(source)
                    for options, source in FENCE.findall(file.read().decode())
                    if TESTED.search(options)
                ]
                if blocks:
                    found[member.name.rpartition("/docs/")[2]] = blocks
    return found


def listed() -> dict[str, int]:
    """The pages in the table of `docs/migrating.md`, and how many statements of each do not run."""
    text = (Path(__file__).parents[1] / "docs" / "migrating.md").read_text(encoding="utf-8")
    found: Counter[str] = Counter()
    for page, number in re.findall(r"^\| `([\w/.-]+\.md)` \| .* \| (\d+) \|$", text, re.MULTILINE):
        found[page] += int(number)
    return found


@pytest.mark.skipif(sys.version_info[:2] != (3, 13), reason="once is enough, on the newest interpreter")
def test_documentation_of_zarr_python_runs(pages: dict[str, list[str]], tmp_path: Path) -> None:
    """Each page's statements run one after the other in a process of their own; no more fail than the table says."""
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}  # no bucket of others is asked

    def failed(page: str) -> list[str]:
        folder = tmp_path / page.replace("/", "-")
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", RUNNER],
            input=json.dumps([translated(source) for source in pages[page]]),
            cwd=folder,
            env=os.environ | away,
            capture_output=True,
            text=True,
            timeout=500,
            check=True,
        )
        lines: list[str] = json.loads(done.stdout)
        return lines

    with ThreadPoolExecutor(2) as pool:
        failures = dict(zip(pages, pool.map(failed, pages), strict=True))
    known = listed()
    told = "\n".join(
        f"{page}: {len(lines)}\n  " + "\n  ".join(lines) for page, lines in failures.items() if lines
    )
    assert {page for page, lines in failures.items() if len(lines) > known.get(page, 0)} == set(), told
    statements = sum(len(ast.parse(source).body) for blocks in pages.values() for source in blocks)
    assert statements - sum(map(len, failures.values())) >= RUNS, told
