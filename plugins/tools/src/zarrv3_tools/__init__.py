"""What is done with whole hierarchies, in any stores: copying, comparing and verifying; and how notebooks show them.

copying    `copy`: from store to store, as it is or re-chunked, re-sharded, re-compressed; resumed, verified
comparing  `diff`: what is different in two hierarchies, or in an overlay
verifying  `verify`: reading everything to find what is corrupt or missing
notebook   arrays, groups, reports and trees as HTML
locations  a node, by whatever a user names it by

`zarrv3.copy`, `zarrv3.diff` and `zarrv3.verify` are these functions.
"""

from zarrv3_tools.comparing import DiffReport, KeyChange, NodeChange, diff
from zarrv3_tools.copying import KEEP, CopyReport, NotCarried, copy
from zarrv3_tools.verifying import Problem, VerifyReport, verify

__all__ = [
    "KEEP",
    "CopyReport",
    "DiffReport",
    "KeyChange",
    "NodeChange",
    "NotCarried",
    "Problem",
    "VerifyReport",
    "copy",
    "diff",
    "verify",
]
