"""Copying nodes from one store to another.

places    `copy`: checks the places, then copies
report    `CopyReport`: what was copied, and what could not be carried
walk      the nodes of the source, those below before those above
recoding  what the document of an array becomes that is re-chunked, re-sharded or re-compressed
passing   values from store to store, byte for byte
planning  in which boxes, and by way of which chunks in between
values    elements from array to array
workers   tasks, and who does them
copier    one copy: batches of nodes, values first, documents last
"""

from zarrv3_tools.copying.places import copy
from zarrv3_tools.copying.recoding import KEEP
from zarrv3_tools.copying.report import CopyReport, NotCarried

__all__ = ["KEEP", "CopyReport", "NotCarried", "copy"]
