"""The commands together."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import typer

from zarrv3.opening import hooks
from zarrv3_cli import (
    checking,
    comparing,
    listing,
    looking,
    pinging,
    reading,
    scaffolding,
    transferring,
    verifying,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "info": looking.info,
    "tree": looking.tree,
    "ls": looking.ls,
    "cat": reading.cat,
    "copy": transferring.copy,
    "consolidate": transferring.consolidate,
    "diff": comparing.diff,
    "verify": verifying.verify,
    "check": checking.check,
    "ping": pinging.ping,
    "stores": listing.stores,
    "new-plugin": scaffolding.new_plugin,
}


def application(*, plugins: bool = True) -> typer.Typer:
    """The application, with the commands of installed plugins unless they are not wanted."""
    app = typer.Typer(
        name="zarrv3",
        rich_markup_mode=None,  # help is the same text on a terminal, in a pipe and in the documentation
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        no_args_is_help=False,
    )
    app.callback(invoke_without_command=True)(_start)
    for name, function in COMMANDS.items():
        app.command(name, cls=reading.Selecting if name == "cat" else None)(function)
    if plugins:
        for plugin, function in hooks.functions("zarrv3_commands"):
            hooks.call_one((plugin, partial(_add, app, plugin, function)))
    return app


def _start(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - this and the next are taken from the line by `running`
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
    debug: Annotated[  # noqa: ARG001
        bool, typer.Option("--debug", help="Show the traceback of an error; may be given anywhere.")
    ] = False,
) -> None:
    """Look at, copy, verify and check the stores of zarrv3.

    A store is a URL pipeline ("redis://host/0|lru-cache:") or the path of a folder; "|zarr3:PATH" at its end names a
    node. In a pipe, output is plain text. Exit codes: 0, 1 (failed), 2 (wrong usage), 130 (Ctrl-C).
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def _add(app: typer.Typer, plugin: str, function: Callable[..., Any]) -> None:
    """Let a plugin add its commands; if they cannot be used, none of them stays."""
    commands, groups, callback = [*app.registered_commands], [*app.registered_groups], app.registered_callback
    try:
        function(app=app)
        typer.main.get_command(app)
    except BaseException:
        app.registered_commands, app.registered_groups = commands, groups
        raise
    finally:
        app.registered_callback = callback
    for registered, before in ((app.registered_commands, commands), (app.registered_groups, groups)):
        for added in registered[len(before) :]:
            if _name(added) in COMMANDS:
                registered.remove(added)  # type: ignore[arg-type]  # the list it comes from
                warnings.warn(f"{plugin} may not replace the command {_name(added)!r}", hooks.HookWarning, 2)


def _name(registered: Any) -> str:
    """What a registered command or group is called on the line."""
    name = registered.name if isinstance(registered.name, str) else None
    if name is None and getattr(registered, "typer_instance", None) is not None:
        inner = registered.typer_instance.info.name
        name = inner if isinstance(inner, str) else None
    callback = getattr(registered, "callback", None)
    return name or getattr(callback, "__name__", "").lower().replace("_", "-")
