# running                  from a command line to an exit code: errors, Ctrl-C, broken pipes
# application              the commands together, those of plugins too
# looking (info, ls, tree) · reading (cat) · transferring (copy, consolidate)
# verifying · checking · pinging · listing (stores) · scaffolding (new-plugin)        a module of commands each
# hierarchy · selections · texts · pictures · template       what they are made of
# arguments · completing · places · output    what all commands share
"""The command line of zarrv3: `zarrv3 info`, `tree`, `ls`, `cat`, `copy`, `verify`, `check` and more."""

from zarrv3_cli.running import main

__all__ = ["main"]
