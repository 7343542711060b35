"""The command `zarrv3 serve`."""

import os
from typing import Annotated, Any

from zarrv3.opening.hooks import hookimpl

VARIABLE = "ZARRV3_SERVE_TOKEN"
"""The variable that holds the token, since what stands on a command line is seen by other users."""


@hookimpl
def zarrv3_commands(app: Any) -> None:
    """Add the command."""
    import logging
    import secrets

    import typer

    from zarrv3_cli.arguments import Location, Options
    from zarrv3_cli.output import note
    from zarrv3_cli.places import place

    def serve(
        url: Location,
        host: Annotated[
            str, typer.Option("--host", metavar="ADDRESS", help="The address to listen on.")
        ] = "127.0.0.1",
        port: Annotated[
            int, typer.Option("--port", metavar="NUMBER", help="The port; 0 for a free one.")
        ] = 8000,
        write: Annotated[bool, typer.Option("--write", help="Allow writing, with the token.")] = False,
        public: Annotated[bool, typer.Option("--public", help="Allow reading without the token.")] = False,
        cors: Annotated[
            list[str] | None,
            typer.Option(
                "--cors", metavar="ORIGIN", help="A site whose scripts may read; may be repeated. '*': all."
            ),
        ] = None,
        name: Annotated[
            list[str] | None,
            typer.Option(
                "--name", metavar="HOST", help="A name that the server is asked by; may be repeated."
            ),
        ] = None,
        s3: Annotated[
            bool, typer.Option("--s3", help="Speak the protocol of S3 instead of plain HTTP.")
        ] = False,
        workers: Annotated[
            int, typer.Option("--workers", metavar="NUMBER", min=1, help="Threads that call the store.")
        ] = 16,
        quiet: Annotated[bool, typer.Option("--quiet", help="Log no requests.")] = False,
        option: Options = None,
    ) -> None:
        """Serve a store over HTTP: to other programs, and as a page for people.

        Other machines, and whoever wants to write, need a token: that of the variable ZARRV3_SERVE_TOKEN, or one that is made
        and shown. A browser asks for it as a password.
        """
        from zarrv3.layers.prefix import Prefix
        from zarrv3_serve.application import LOOPBACK
        from zarrv3_serve.application import app as application
        from zarrv3_serve.running import listen
        from zarrv3_serve.running import serve as run

        here = place(url, option)
        is_local = host in {"127.0.0.1", "::1", "localhost"}
        given = token = os.environ.get(VARIABLE) or None
        if token is None and (write or not (is_local or public)):
            token = secrets.token_urlsafe(24)
            note(f"token: {token}")
        logging.basicConfig(
            format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING if quiet else logging.INFO
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        hosts = [*LOOPBACK, *(name or ())] if is_local or name else None
        with here.opener() as store:
            shown = Prefix(store, here.path) if here.path else store
            made = application(
                shown,
                token=token,
                public=public or (is_local and given is None),
                write=write,
                origins=cors or (),
                hosts=hosts,
                workers=workers,
                s3=s3,
            )
            with listen(host, port) as listening:
                address = f"[{host}]" if ":" in host else host
                note(f"serving {store.describe()} at http://{address}:{listening.getsockname()[1]}/")
                if s3:
                    keys = "access key 'zarrv3', the token as its secret" if token else "any keys"
                    note(f"S3: bucket 'zarr', {keys}")
                run(made, ready=listening)

    app.command("serve")(serve)
