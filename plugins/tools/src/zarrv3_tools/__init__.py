"""What is done with whole hierarchies, in any stores: copying and verifying.

copying    `copy`: from store to store, as it is or re-chunked, re-sharded, re-compressed; resumed, verified
verifying  `verify`: reading everything to find what is corrupt or missing
locations  a node, by whatever a user names it by

`zarrv3.copy` and `zarrv3.verify` are these functions.
"""

from zarrv3_tools.copying import KEEP, CopyReport, NotCarried, copy
from zarrv3_tools.verifying import Problem, VerifyReport, verify

__all__ = ["KEEP", "CopyReport", "NotCarried", "Problem", "VerifyReport", "copy", "verify"]
