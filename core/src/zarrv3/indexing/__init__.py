"""Turn a selection on an array into a plan: which part of which chunk is which part of the result. No I/O here.

::

    selection ── dispatch.plan ──> basic · orthogonal · coordinates     which kind of indexing is it?
                                     │  arguments                       what the user wrote, checked: SelectionError
                                     │  axes                            per dimension: chunks it touches, inside, outside
                                     └> plans: Plan.tasks()             product over the dimensions: Piece, Piece, …

A reader does `result[piece.outside] = chunk[piece.inside]` for every piece of a plan, a writer the opposite.
"""

from zarrv3.indexing.arguments import SelectionTypeError, SelectionValueError, is_index, split_fields
from zarrv3.indexing.basic import plan_basic, plan_blocks
from zarrv3.indexing.coordinates import plan_coordinates, plan_mask
from zarrv3.indexing.dispatch import plan
from zarrv3.indexing.orthogonal import plan_orthogonal
from zarrv3.indexing.plans import ListedPlan, Piece, Plan

__all__ = [
    "ListedPlan",
    "Piece",
    "Plan",
    "SelectionTypeError",
    "SelectionValueError",
    "is_index",
    "plan",
    "plan_basic",
    "plan_blocks",
    "plan_coordinates",
    "plan_mask",
    "plan_orthogonal",
    "split_fields",
]
