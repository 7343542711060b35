"""`stores`: the installed plugins."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from typing import Annotated, Any

import typer

from zarrv3 import BaseStore, Capabilities, open_store, registry
from zarrv3.opening.stores import preferred
from zarrv3.options.urls import parse_pipeline
from zarrv3.registry import Plugin
from zarrv3_cli import completing, output
from zarrv3_cli.arguments import AsJson

FLAGS = [member.name for member in fields(Capabilities) if member.name != "limits"]


def stores(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A store or layer: show its options.", show_default=False),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="layers, codecs, … instead of stores; all for every kind.",
            autocompletion=completing.kinds,
        ),
    ] = "stores",
    capabilities: Annotated[
        bool,
        typer.Option(
            "--capabilities", help="Also what a new store of each class can do, where that needs no server."
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Import each plugin; exit code 1 when one is broken.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the stores that are installed, or the plugins of another kind.

    With their distributions and versions, and where several packages serve one name, the order in which they are asked.
    Without --capabilities and --check, none of them is imported. With a name, list the options of that store or layer.
    """
    if name is not None:
        _options(name, as_json=as_json)
        return
    found = registry.plugins()
    wanted = _kind(kind, {plugin.kind for plugin in found})
    entries = [
        _entry(plugin, capabilities=capabilities, check=check) for plugin in found if plugin.kind in wanted
    ]
    if as_json:
        output.document(entries)
    else:
        heads = ["kind", "name", "distribution", "version", "asked"]
        heads += ["capabilities"] * capabilities + ["state"] * check
        output.table(heads, _rows(entries))
    broken = [entry for entry in entries if entry.get("error")]
    if broken and check:
        raise typer.Exit(1)


def _kind(text: str, there: set[str]) -> set[str]:
    """The kinds that a text names, in the singular or the plural."""
    plain = text.strip().lower().replace(" ", "_").replace("-", "_")
    if plain == "all":
        return there
    if found := there & {plain, f"{plain}s"}:
        return found
    raise typer.BadParameter(
        f"no plugin is of the kind {text!r}; there are: {', '.join(sorted(there))}", param_hint="'--kind'"
    )


def _options(name: str, *, as_json: bool) -> None:
    kind: registry.Kind = "layers" if registry.installed("layers", name) else "stores"
    cls = next(registry.alternatives(kind, name, preferred if kind == "stores" else tuple))
    heads = ["option", "takes", "default", "meaning"]
    rows = [[cell.replace("`", "") for cell in row] for row in cls.declared().rows()]
    if as_json:
        output.document([dict(zip(heads, row, strict=True)) for row in rows])
    else:
        output.table(heads, rows)


def _rows(entries: list[dict[str, Any]]) -> Iterator[list[str]]:
    for entry in entries:
        row = [entry["kind"], entry["name"], entry["distribution"], entry["version"], entry["asked"] or ""]
        if "capabilities" in entry:
            row.append(", ".join(entry["capabilities"] or ()))
        if "error" in entry:
            row.append(f"broken: {entry['error']}" if entry["error"] else "good")
        yield row


def _entry(plugin: Plugin, *, capabilities: bool, check: bool) -> dict[str, Any]:
    found: dict[str, Any] = {**plugin._asdict(), "asked": None}
    error = None
    can: list[str] | None = None
    with suppress(LookupError):  # two claim a name
        found["asked"] = _turn(plugin)
    if check or (capabilities and plugin.kind == "stores"):
        try:
            _turn(plugin)
            loaded = registry.load_plugin(plugin)
            if capabilities and isinstance(loaded, type) and issubclass(loaded, BaseStore):
                can = _capabilities(loaded, plugin.name)
        except Exception as problem:  # noqa: BLE001 - whatever a plugin does when it is imported
            error = (
                f"{problem}" if isinstance(problem, LookupError) else f"{type(problem).__name__}: {problem}"
            )
    if capabilities:
        found["capabilities"] = can
    if check or error:
        found["error"] = error
    return found


def _turn(plugin: Plugin) -> str | None:
    """When a plugin is asked, of several that serve its name; `None` where it is the only one."""
    served = registry.providers(plugin.kind, plugin.name, preferred if plugin.kind == "stores" else tuple)
    return ("first" if served[0] == plugin else "next") if len(served) > 1 else None


def _capabilities(cls: type[BaseStore], name: str) -> list[str] | None:
    """What a new store of a class can do; `None` where there is none without a server, or only by other names."""
    with tempfile.TemporaryDirectory() as folder:
        url = cls.example_url(folder)
        if url is None:
            return None
        scheme = parse_pipeline(url)[0].scheme
        if name not in {cls.kind, scheme} and not (name.endswith("*") and scheme.startswith(name[:-1])):
            return None  # s3 can do other things than the folder that stands for fsspec
        with open_store(url) as store:
            can = store.capabilities
    return [flag for flag in FLAGS if getattr(can, flag)]
