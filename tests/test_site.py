"""The site that `nox -s site` builds, without building it: its map, its reference, and the check of what was built."""

import runpy
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import zarrv3

DOCS = Path(__file__).parent.parent / "docs"
HOOKS = SimpleNamespace(**runpy.run_path(str(DOCS / "hooks.py")))
CHECK = SimpleNamespace(**runpy.run_path(str(DOCS / "check_site.py")))


def flat(nav: object) -> list[str]:
    """The pages of a navigation."""
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in flat(part)]  # type: ignore[attr-defined]


def test_the_map_has_every_page() -> None:
    """Each text of `docs`, of the root and of the packages stands in the navigation, once, and so does the reference."""
    nav = flat(HOOKS.navigation())
    assert len(nav) == len({*nav})
    assert {*HOOKS.pages().values(), "reference/index.md"} <= {*nav}
    texts = [*DOCS.glob("*.md"), *DOCS.glob("*.ipynb")]
    assert {f"{path.stem}.md" for path in texts} <= {*nav}
    assert {f"packages/{path.parent.name}.md" for path in DOCS.parent.glob("plugins/*/README.md")} <= {*nav}
    assert {"changelog.md", "contributing.md", "architecture.md"} <= {*nav}


def test_the_reference_has_every_public_name() -> None:
    """What `dir(zarrv3)`, its modules for users and each package's `__all__` list is described on one page, or leads to one."""
    assert zarrv3.verify  # a name that has been asked for, from another package
    names = {name.path: name for page in HOOKS.reference().values() for name in page}
    hidden = {"TYPE_CHECKING", "Any", "import_module"}
    expected = (
        {name for name in dir(zarrv3) if not name.startswith("_")} - hidden - {*sys.stdlib_module_names}
    )
    expected = {f"zarrv3.{name}" for name in expected if not isinstance(getattr(zarrv3, name), type(zarrv3))}
    packages = [path.name for path in DOCS.parent.glob("plugins/*/src/zarrv3_*")]
    for module in [
        *packages,
        "zarrv3.testing",
        "zarrv3.codecs",
        "zarrv3.storage",
        "zarrv3.compat",
        "zarrv3.layers",
    ]:
        listed = getattr(import_module(module), "__all__", [])
        expected |= {
            f"{module}.{name}"
            for name in listed
            if not isinstance(getattr(import_module(module), name), type(zarrv3))
        }
    expected |= {
        f"zarrv3.errors.{name}" for name in ("CorruptDataError", "NodeNotFoundError", "StaleMetadataWarning")
    }
    assert expected - {*names} == set()
    described = {name.module for name in names.values()}
    assert not [
        module
        for module in HOOKS.modules()
        if not any(f"{other}.".startswith(f"{module}.") for other in described)
    ]
    assert {name.home for name in names.values()} <= {*names}
    text = "".join(HOOKS.reference_text(title, page) for title, page in HOOKS.reference().items())
    assert {
        path
        for path, name in names.items()
        if name.home == path and name.in_source and f"::: {path}\n" not in text
    } == set()


def test_links_lead_into_the_site() -> None:
    """Links between files become links between pages, those to other files lead to the forge, and code stays as it is."""
    source = "[a](../plugins/serve/README.md#as-s3) [b](arrays.md) [c](tutorial.ipynb) `[d](x.md)` [e](../noxfile.py)\n"
    assert HOOKS.with_links(source, DOCS / "serve.md", "serve.md") == (
        "[a](packages/serve.md#as-s3) [b](arrays.md) [c](tutorial.md) `[d](x.md)` "
        f"[e]({HOOKS.FORGE}/blob/main/noxfile.py)\n"
    )
    readme = DOCS.parent / "plugins" / "serve" / "README.md"
    assert HOOKS.with_links("[a](../../docs/cli.md#x)", readme, "packages/serve.md") == "[a](../cli.md#x)"
    source = "[docs/cli.md](../../docs/cli.md), [cli.md](https://elsewhere.example/cli.md)"
    assert HOOKS.with_links(source, readme, "packages/serve.md") == source.replace(
        "[docs/cli.md](../../docs/", "[The command line](../"
    )


def test_names_lead_to_the_reference() -> None:
    """The first mention of a public name is a link; headings, code and names that are not public stay."""
    text = "# `Counting`\n`Counting`, `Counting`, `nothing`, [`LRUStoreCache`](x.md), `zarrv3.open_array()`\n```python\n`Group`\n```\n"
    assert HOOKS.with_names(text) == text.replace(
        "\n`Counting`,", "\n[`Counting`][zarrv3.Counting],"
    ).replace("`zarrv3.open_array()`", "[`zarrv3.open_array()`][zarrv3.open_array]")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('<a href="other.html#there">', None),
        ('<a href="https://elsewhere.example/">', None),
        ('<a href="missing.html">', "missing.html leads nowhere"),
        ('<a href="other.html#gone">', "other.html#gone leads nowhere"),
        ('<a href="#gone">', "#gone leads nowhere"),
        ('<img src="picture.png">', "picture.png leads nowhere"),
        ('<script src="//elsewhere.example/x.js"></script>', "loads //elsewhere.example/x.js"),
        (
            '<link rel="stylesheet" href="https://elsewhere.example/x.css">',
            "loads https://elsewhere.example/x.css",
        ),
        ("<style>p { background: url('https://elsewhere.example/x') }</style>", "elsewhere.example/x"),
    ],
)
def test_the_check_finds(content: str, problem: str | None, tmp_path: Path) -> None:
    """A built site with a link that leads nowhere, or with something that comes from another host, does not pass."""
    (tmp_path / "index.html").write_text(content)
    (tmp_path / "other.html").write_text('<p id="there">')
    found = CHECK.problems(tmp_path)
    assert not found if problem is None else problem in found[0]
