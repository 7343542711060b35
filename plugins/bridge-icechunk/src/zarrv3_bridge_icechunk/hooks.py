"""What the command line application is given; nothing is imported before that."""

from typing import Any

from zarrv3.opening.hooks import hookimpl


@hookimpl
def zarrv3_commands(app: Any) -> None:
    """Add the commands `log` and `commit`."""
    from zarrv3_bridge_icechunk import commands

    app.command("log")(commands.log)
    app.command("commit")(commands.commit)
