# commands (`zarrv3 serve`) · running          a server process: address, token, log, graceful stop
# application            who may ask: hosts, tokens, origins, how many at once; which part answers
# values · listing       keys and folders over plain HTTP
# requests · replies     what a request says, what an answer is                           pure, but for sending
# workers                the threads that call the store
"""Every store of zarrv3 over HTTP.

The names are imported when they are first used: the command line looks for this package's command whatever it is asked to do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zarrv3_serve.application import Application, app
    from zarrv3_serve.running import serve, served

__all__ = ["Application", "app", "serve", "served"]

_HOME = {"Application": "application", "app": "application", "serve": "running", "served": "running"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A public name, imported on first use."""
        if name not in _HOME:
            raise AttributeError(f"module 'zarrv3_serve' has no attribute {name!r}", name=name)
        return globals().setdefault(name, getattr(import_module(f"zarrv3_serve.{_HOME[name]}"), name))
