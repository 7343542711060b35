"""What makes the site of these pages: `nox -s site` runs mkdocs, which calls the functions `on_…` here.

The map is `index.md`: its headings and links are the site's navigation. Added to it are the texts beside this folder and the
READMEs of all packages, as pages; the reference, one page a module, with every public name; the outputs of the notebook, which is
run; and the pictures that the code of `gallery.md` and the tables of `performance.md` make.
"""

import contextlib
import functools
import inspect
import io
import os
import posixpath
import re
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

from zarrv3.registry import OFFERED_FUNCTIONS

DOCS = Path(__file__).parent
ROOT = DOCS.parent
URLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
FORGE = URLS["Source"]

CODE = r"^```.*?^```$|`[^`\n]*`"
LINK = re.compile(rf"\[(?P<label>[^][\n]*)\]\((?P<target>[^)\s]+)\)|{CODE}", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


# ---------------------------------------------------------------- which pages there are


def pages() -> dict[Path, str]:
    """The texts of the repository that are pages of the site, each with its address there."""
    texts = {path: path.name for path in sorted(DOCS.glob("*.md"))}
    texts |= {path: f"{path.stem}.md" for path in sorted(DOCS.glob("*.ipynb"))}
    texts |= {path: f"{path.stem.lower()}.md" for path in sorted(ROOT.glob("*.md")) if path.stem != "README"}
    texts |= {path: f"packages/{path.parent.name}.md" for path in readmes()}
    return {**texts, ROOT / "benchmarks" / "README.md": "benchmarks.md"}


def readmes() -> list[Path]:
    """The READMEs of all packages."""
    return [ROOT / "core" / "README.md", *sorted(ROOT.glob("plugins/*/README.md"))]


def navigation() -> list[dict[str, Any]]:
    """The map of the site: the headings of `index.md` with what they link to, then what has no text of its own."""
    _, *parts = HEADING.split((DOCS / "index.md").read_text("utf-8"))
    there = pages()
    nav: list[dict[str, Any]] = []
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        found = [
            {label: there[(DOCS / target).resolve()]}
            for label, target in re.findall(r"^\| \[([^]]+)\]\(([^)]+)\)", text, re.MULTILINE)
        ]
        if found:
            nav.append({heading: found})
    packages = [there[path] for path in readmes()]
    nav.insert(-1, {"Packages": [{Path(page).stem: page} for page in packages]})
    names = [{title: reference_page(title)} for title in reference()]
    nav.insert(-1, {"Reference": [{"Every name": "reference/index.md"}, *names]})
    return [{"Home": "index.md"}, *nav]


# ---------------------------------------------------------------- the reference


class Name(NamedTuple):
    """A public name: where it is imported from, where it is described, its first sentence, and whether it stands in the source."""

    module: str
    name: str
    home: str
    summary: str
    in_source: bool

    @property
    def path(self) -> str:
        """The name in full."""
        return f"{self.module}.{self.name}"

    @property
    def link(self) -> str:
        """The name, as a link to where it is described if it is."""
        linked = self.home != self.path or self.in_source
        return f"[`{self.name}`][{self.home}]" if linked else f"`{self.name}`"


CORE = ["zarrv3", "zarrv3.errors", "zarrv3.layers", "zarrv3.store.helpers", "zarrv3.testing"]
OTHERS = [
    "zarrv3.codecs",
    "zarrv3.dtype",
    "zarrv3.storage",
    "zarrv3.experimental.cache_store",
    "zarrv3.core.group",
]
OTHERS += ["zarrv3.compat"]
"""Modules that say in zarr-python's words much of what is described elsewhere."""

ARRAYS = {"Array", "ChunkCache", "Group"}
AUTHORS = {
    "Backend",
    "Buffer",
    "ByteRange",
    "Capabilities",
    "FileBackend",
    "Layer",
    "Limits",
    "Option",
    "Request",
}
AUTHORS |= {"StorageTransformer", "Store", "hookimpl"}


@functools.cache
def reference() -> dict[str, list[Name]]:
    """The pages of the reference with the public names on them, each described on one page only."""
    plugins = [path.name for path in sorted(ROOT.glob("plugins/*/src/zarrv3_*"))]
    core = [
        *CORE,
        *(module for module in modules() if not any(other.startswith(module) for other in [*CORE, *OTHERS])),
    ]
    homes: dict[int, str] = {}
    found: dict[str, list[Name]] = {}
    for module in [*plugins, *core, *OTHERS]:  # in the order in which names find their home
        described = {
            name: functools.reduce(getattr, name.split("."), import_module(module)) for name in public(module)
        }
        aliases = {
            name: name.rpartition(".")[2] != getattr(value, "__name__", name)
            for name, value in described.items()
        }
        for name in sorted(described, key=aliases.__getitem__):
            value, path = described[name], f"{module}.{name}"
            home = homes.setdefault(id(value), path) if callable(value) else path
            text = inspect.getdoc(value) if callable(value) else None
            summary = " ".join((text or "").split("\n\n")[0].split())
            made = "." not in name and getattr(value, "__module__", None) == module
            in_source = not made or name in vars(import_module(module))
            found.setdefault(page_title(module, name), []).append(
                Name(module, name, home, summary, in_source)
            )
    found = {title: sorted(names, key=lambda name: name.name.lower()) for title, names in found.items()}
    order = [
        "Functions",
        "Arrays and groups",
        "Stores and layers",
        "For authors",
        *core[1:],
        *plugins,
        *OTHERS,
    ]
    return {title: found[title] for title in order}


def modules() -> list[str]:
    """The modules that are public names of `zarrv3`."""
    names = import_module("zarrv3").__all__
    return [f"zarrv3.{name}" for name in names if inspect.ismodule(getattr(import_module("zarrv3"), name))]


def page_title(module: str, name: str) -> str:
    """The page of the reference that a name is on: that of its module, of which `zarrv3` has several."""
    if module != "zarrv3":
        return module
    if name in ARRAYS:
        return "Arrays and groups"
    if name in AUTHORS:
        return "For authors"
    return "Stores and layers" if name[0].isupper() else "Functions"


def public(module: str) -> list[str]:
    """The public names of a module; of a package that lists none, those in its modules that its entry points name."""
    loaded = import_module(module)
    if module.startswith("zarrv3_") and not hasattr(loaded, "__all__"):
        found = [entry.load() for entry in metadata.distribution(module).entry_points]
        return sorted(
            {
                f"{value.__module__}.{value.__qualname__}".removeprefix(f"{module}.")
                for value in found
                if inspect.isclass(value)
            }
        )
    ours = [name for name in dir(loaded) if not name.startswith("_")]
    late = {name for name in ours if name not in vars(loaded)}
    if module == "zarrv3":  # which keeps those that have been asked for
        late |= OFFERED_FUNCTIONS.keys()
    made = {
        name for name, value in vars(loaded).items() if inspect.isclass(value) or inspect.isfunction(value)
    }
    here = {name for name in made.intersection(ours) if vars(loaded)[name].__module__ == module}
    return sorted(
        name
        for name in {*getattr(loaded, "__all__", here), *late}
        if not inspect.ismodule(getattr(loaded, name))
    )


def reference_page(title: str) -> str:
    """The address of a page of the reference."""
    return f"reference/{title.lower().replace(' ', '-')}.md"


def reference_text(title: str, names: list[Name]) -> str:
    """A page of the reference: what the module says of itself, names that are described elsewhere, then all others."""
    module = names[0].module
    own = [name for name in names if name.home == name.path and name.in_source]
    text = f"# {title}\n\n"
    if module != "zarrv3":
        text += f"::: {module}\n    options:\n      members: false\n      show_root_heading: false\n\n"
    if len(own) < len(names):
        text += table(name for name in names if name not in own)
    inherited = "    options:\n      inherited_members: true\n" if title == "Arrays and groups" else ""
    return text + "".join(f"\n::: {name.path}\n{inherited}" for name in own)


def reference_index() -> str:
    """The page that lists every public name."""
    text = "# Every name\n\nThe public names of the core and of all packages, module by module.\n"
    for title, names in reference().items():
        text += f"\n## [{title}]({posixpath.basename(reference_page(title))})\n\n{table(names)}"
    return text


def table(names: Iterable[Name]) -> str:
    """Names with their first sentences."""
    rows = "".join(f"| {name.link} | {name.summary.replace('|', chr(92) + '|')} |\n" for name in names)
    return f"| name | what it is |\n|---|---|\n{rows}"


# ---------------------------------------------------------------- what mkdocs calls


def on_config(config: Any) -> Any:
    """Take the navigation from `index.md`, and name headings as the forge does, so that links to them hold on both."""
    config["nav"], config["site_url"] = navigation(), URLS["Documentation"]
    config["mdx_configs"].setdefault("toc", {})["slugify"] = slug
    return config


def slug(heading: str, separator: str) -> str:
    """The anchor of a heading, as the forge makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages whose texts lie outside of this folder or are made here."""
    from mkdocs.structure.files import File

    def add(address: str, text: str) -> None:
        files.append(File.generated(config, address, content=text))

    for path, address in pages().items():
        if path.suffix == ".ipynb":
            add(address, notebook_text(path))
        elif path.parent != DOCS:
            add(address, path.read_text("utf-8"))
    add("reference/index.md", reference_index())
    for title, names in reference().items():
        add(reference_page(title), reference_text(title, names))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the pages of the site, link names to the reference, and put pictures beside what they show."""
    address = page.file.src_uri
    source = next((path for path, other in pages().items() if other == address), None)
    if source is None:
        return markdown
    if source.parent == DOCS and source.stem in SHOWN:
        markdown = with_outputs(markdown, name=source.name)
    if source.stem == "gallery":
        charts = [f"### {heading}\n\n{chart(rows)}" for heading, rows in charted()]
        markdown = markdown.replace("<!-- charts -->", "\n\n".join(charts))
    if source.stem == "performance":
        markdown = with_charts(markdown)
    if source.stem == "index":
        page.meta["hide"] = ["navigation"]
    return with_names(with_links(without_escapes(markdown), source, address))


def without_escapes(markdown: str) -> str:
    r"""A text in whose tables `\|` in code is `|`: the forge takes the backslash away, Markdown in Python shows it."""
    return re.sub(
        r"^\|.*$",
        lambda row: re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), row[0]),
        markdown,
        flags=re.MULTILINE,
    )


def with_links(markdown: str, source: Path, address: str) -> str:
    """A text whose relative links lead to pages of the site, or else to the forge; where one shows a file's name, it gets the title."""
    there = pages()

    def lead(match: re.Match[str]) -> str:
        label, target = match["label"], match["target"]
        if target is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        name, _, heading = target.partition("#")
        path = (source.parent / name).resolve()
        if path in there:
            new = posixpath.relpath(there[path], posixpath.dirname(address) or ".")
            label = title(path) if path.suffix == ".md" and label.endswith(path.name) else label
        elif path.is_relative_to(DOCS) and path.is_file():
            return match[0]
        else:
            new = f"{FORGE}/blob/main/{path.relative_to(ROOT).as_posix()}"
        return f"[{label}]({new}{'#' if heading else ''}{heading})"

    return LINK.sub(lead, markdown)


def title(path: Path) -> str:
    """The first heading of a text."""
    return path.read_text("utf-8").partition("# ")[2].partition("\n")[0]


def with_names(markdown: str) -> str:
    """A text whose first mention of each public name of `zarrv3` is a link to the reference."""
    known = {
        name.name: name.home for names in reference().values() for name in names if name.module == "zarrv3"
    }
    known |= {path: home for name, home in known.items() for path in [f"zarrv3.{name}"]}
    known |= {name.path: name.path for name in reference()["zarrv3.errors"]}
    known |= {name.name: name.path for name in reference()["zarrv3.errors"]}
    seen = set[str]()

    def link(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None or known.get(name.removesuffix("()")) in {None, *seen}:
            return match[0]
        home = known[name.removesuffix("()")]
        seen.add(home)
        return f"[`{name}`][{home}]"

    kept = r"^```.*?^```$|^#[^\n]*$|^ {4,}[^\n]*$|\[[^\]\n]*\]\([^)\n]*\)|\[[^\]\n]*\]\[[^\]\n]*\]"
    return re.sub(
        rf"{kept}|`(?P<name>[\w.]+(?:\(\))?)`|`[^`\n]*`", link, markdown, flags=re.DOTALL | re.MULTILINE
    )


# ---------------------------------------------------------------- pictures

PICTURES: dict[str, str] = {}
"""What takes the place of marks in finished pages: Markdown would read it as text."""

INK = "#010203"
"""A colour that becomes that of the text beside a picture, in the light and in the dark."""


def mark(content: str) -> str:
    """What stands in Markdown for a piece of HTML."""
    name = f"picture-{len(PICTURES)}"
    PICTURES[name] = content
    return f'<div class="picture" data-search-exclude id="{name}"></div>'


def on_page_content(content: str, **_: Any) -> str:
    """Put the pictures into a page."""
    return re.sub(
        r'(<div class="picture"[^>]* id="(picture-\d+)">)',
        lambda match: match[1] + PICTURES[match[2]],
        content,
    )


def plot_settings() -> Any:
    """How pictures are drawn: in no window, on no ground, in the colour of the text."""
    inks = ["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"]
    grounds = ["figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"]
    colours = "cycler(color=['#00897b', '#ef6c00', '#5c6bc0', '#8d6e63', '#c2185b'])"
    rest = {"backend": "agg", "axes.prop_cycle": colours, "svg.fonttype": "none", "legend.frameon": False}
    return {**dict.fromkeys(inks, INK), **dict.fromkeys(grounds, "none"), **rest}


def drawn(figure: Any) -> str:
    """A figure of matplotlib as SVG that fits into a page."""
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": str(len(PICTURES))}):
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return fitted(file.getvalue())


def fitted(svg: str) -> str:
    """A picture that matplotlib has made as a part of a page: without what belongs to a file, in the page's colour and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace(INK, "currentColor")
    return re.sub(r"font: [^;]*?(\d+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)


def figures() -> Iterator[str]:
    """The figures that code has left open, which are then closed."""
    import matplotlib.pyplot as plt

    for number in plt.get_fignums():
        yield drawn(plt.figure(number))
    plt.close("all")


SHOWN = {
    "arrays",
    "caching",
    "consolidated",
    "copying",
    "draft-v3",
    "faq",
    "gallery",
    "groups",
    "index",
    "install",
    "sharding",
}
"""The pages whose code is run for what it prints and draws; that of others needs more than the site has."""


def with_outputs(markdown: str, *, name: str) -> str:
    """A text whose blocks of code are run, each with what it prints below it, or the pictures that it draws above it."""
    import matplotlib as mpl

    space: dict[str, Any] = {"__name__": name}

    def run(match: re.Match[str]) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(match[1], name, "exec"), space)  # noqa: S102 - it is our page
        made = [mark(picture) for picture in figures()]
        if made:
            code = match[0].replace("\n", "\n    ")
            return "\n\n".join([*made, f'??? note "The code"\n\n    {code}'])
        return f"{match[0]}\n\n{output(printed.getvalue())}" if printed.getvalue().strip() else match[0]

    before, environment = Path.cwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder, mpl.rc_context(plot_settings()):
        os.chdir(folder)
        os.environ["XDG_CONFIG_HOME"] = folder
        try:
            return re.sub(r"^```python\n(.*?)^```$", run, markdown, flags=re.DOTALL | re.MULTILINE)
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(environment)


def output(text: str) -> str:
    """What code has put out, as a block."""
    return f"```{{ .text .output }}\n{text.rstrip()}\n```"


CHART = re.compile(r"<!-- chart -->\n((?:\|.*\n)+)")


def with_charts(markdown: str) -> str:
    """A text with a chart below each table that is marked for one."""
    return CHART.sub(lambda match: f"{match[0]}\n{chart(match[1])}\n", markdown)


def charted() -> Iterator[tuple[str, str]]:
    """The tables of `performance.md` that are marked for a chart, each with its heading."""
    _, *parts = HEADING.split((DOCS / "performance.md").read_text("utf-8"))
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        for match in CHART.finditer(text):
            yield heading, match[1]


def chart(rows: str) -> str:
    """A table as bars: a group for each row, a bar for each column of numbers."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    heads, _, *lines = [[cell.strip() for cell in row.strip("|\n").split("|")] for row in rows.splitlines()]
    columns = [[bar_of(line[number]) for line in lines] for number in range(len(heads))]
    numbers = [[value for value in column if value is not None] for column in columns]
    bars = [(number, values) for number, values in enumerate(numbers) if len(values) == len(lines)]
    labels = [" ".join(line[: bars[0][0]]) for line in lines]
    aims = [values for number, values in bars if heads[number] == "aim"]
    bars = [(number, values) for number, values in bars if heads[number] != "aim"]
    step = len(bars) + 1
    middles = [row * step + (len(bars) - 1) / 2 for row in range(len(lines))]
    with mpl.rc_context(plot_settings()):
        figure, axes = plt.subplots(figsize=(8, 0.6 + 0.12 * len(lines) * step))
        for place, (number, values) in enumerate(bars):
            axes.barh(
                [row * step + place for row in range(len(lines))], values, height=0.9, label=heads[number]
            )
        for values in aims:
            ends = [y - step / 2 for y in middles], [y + step / 2 for y in middles]
            axes.vlines(values, *ends, color=INK, label="aim")
        axes.set_yticks(middles, labels)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(bars) + len(aims))
        plt.close(figure)
        return mark(drawn(figure))


def bar_of(cell: str) -> float | None:
    """The number in a cell; nothing where it has none."""
    found = re.fullmatch(r"[*< ]*([\d,.]+)[* ]*|none", cell)
    return found and float((found[1] or "nan").replace(",", ""))


# ---------------------------------------------------------------- the notebook


def notebook_text(path: Path) -> str:
    """A notebook, run, as a page: its texts, its code, and what the code has put out."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    set_up = f"%config InlineBackend.figure_formats = ['svg']\nimport matplotlib\nmatplotlib.rcParams.update({plot_settings()!r})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(set_up))
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            notebook,
            timeout=120,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        ).execute()
    parts = []
    for cell in notebook.cells[1:]:
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        parts += [output_text(result) for result in cell.get("outputs", ())]
    download = f"[Download this page as a notebook]({path.name}){{ download }}"
    title, *rest = parts
    return "\n\n".join([title, download, *rest])


def output_text(result: Any) -> str:
    """What code has put out: a picture, HTML, or text."""
    data = result.get("data", {})
    if "image/svg+xml" in data:
        return mark(fitted(data["image/svg+xml"]))
    if "image/png" in data:
        return mark(f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">')
    if "text/html" in data:
        return mark(data["text/html"])
    return output(result.get("text") or data.get("text/plain", ""))
