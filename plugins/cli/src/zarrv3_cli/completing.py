"""What the shell offers on Tab: schemes, layers, nodes, options, kinds, codecs. After an error it offers nothing, and says nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import escape, glob
from pathlib import Path

from typer import Context

from zarrv3 import registry
from zarrv3.options.urls import has_scheme, parse_pipeline
from zarrv3_cli.places import place
from zarrv3_cli.template import KINDS

Offers = list[tuple[str, str]]
Offering = Callable[[Context, str], Offers]

URLS = ("url", "source", "dest", "other")
"""The parameters that take a URL."""


def _offering(function: Callable[[Context, str], Iterator[tuple[str, str]]]) -> Offering:
    """A function as typer calls it: what it offers is what begins with what has been typed."""

    def offered(context: Context, incomplete: str) -> Offers:
        try:
            return [
                (text, help_) for text, help_ in function(context, incomplete) if text.startswith(incomplete)
            ]
        except Exception:  # noqa: BLE001 - nobody can read an error in the middle of a line
            return []

    return offered


@_offering
def locations(_: Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Schemes, and files beside them; behind a bar layers, and nodes behind `zarr3:`."""
    store, bar, last = incomplete.rpartition("|")
    if bar and last.startswith("zarr3:"):
        for path in _nodes(store, (), last.removeprefix("zarr3:")):
            yield f"{store}|zarr3:{path}", ""
    elif bar:
        yield from ((f"{store}|{name}:", help_) for name, help_ in _installed("layers"))
    elif not has_scheme(incomplete):
        schemes = [(f"{name}://", help_) for name, help_ in _installed("stores")]
        if any(scheme.startswith(incomplete) for scheme, _ in schemes):  # else the shell itself offers files
            files = sorted(glob(f"{escape(incomplete)}*"))  # noqa: PTH207 - as typed, `./` too
            yield from ((f"{path}/" if Path(path).is_dir() else path, "") for path in files)
        yield from schemes


@_offering
def paths(context: Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """The nodes of the store that stands on the line."""
    yield from ((path, "") for path in _nodes(_url(context), _options(context), incomplete))


@_offering
def options(context: Context, _: str) -> Iterator[tuple[str, str]]:
    """The options of the store that stands on the line, each with its help."""
    root = parse_pipeline(_url(context))[0]
    for name, one in registry.load("stores", root.scheme or "directory").declared().options.items():
        if not one.option.live:
            yield f"{name}=", one.option.help.replace("`", "")


@_offering
def kinds(_: Context, __: str) -> Iterator[tuple[str, str]]:
    """The kinds of plugins."""
    yield "all", "plugins of every kind"
    yield from ((kind, "") for kind in sorted({plugin.kind for plugin in registry.plugins()}))


@_offering
def own_kinds(_: Context, __: str) -> Iterator[tuple[str, str]]:
    """The kinds of plugins that there is a template of."""
    yield from ((kind, "") for kind in KINDS)


@_offering
def codecs(_: Context, __: str) -> Iterator[tuple[str, str]]:
    """The names of codecs, and what stands for several or none."""
    yield from (("auto", "the usual one"), ("none", "none of its kind"))
    yield from _installed("codecs")


def _installed(kind: registry.Kind) -> Iterator[tuple[str, str]]:
    """The names of a kind, each with the distribution it comes from; imports none of them."""
    found = {plugin.name: plugin.distribution for plugin in registry.plugins(kind)}
    return ((name, distribution) for name, distribution in found.items() if not name.endswith("*"))


def _url(context: Context) -> str:
    """The first URL on the line; behind an option that still lacks its value, arguments have not been parsed."""
    parsed = [str(context.params[name]) for name in URLS if context.params.get(name)]
    return [*parsed, *context.args, ""][0]


def _options(context: Context) -> list[str]:
    return [*(context.params.get("option") or ())]


def _nodes(url: str, options: Sequence[str], incomplete: str) -> Iterator[str]:
    """The paths of the nodes in the group that what has been typed names."""
    from zarrv3.hierarchy import nodes

    above, slash, _ = incomplete.rpartition("/")
    here = place(url, options, above)
    with here.opener() as store:
        yield from (f"{above}{slash}{name}" for name, _ in nodes.children(store, here.path))


def rejoined(environment: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The line's words as they were typed, and what bash has of the last one already: it cuts words at `:` and `=`."""
    pieces, place = environment["COMP_WORDS"].split("\n"), int(environment["COMP_CWORD"])
    words: list[str] = []
    number, had, glued = place, "", False
    for position, piece in enumerate(pieces):
        cut = bool(piece) and {*piece} <= {*":="}
        if words and (cut or glued):
            had = words[-1] + piece * cut
            words[-1] += piece
        else:
            had = ""
            words.append(piece)
        glued = cut
        if position == place:
            number = len(words) - 1
            break
    return {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(number)}, had
