"""The one door. Nothing else changes what a transaction is.

`decide` is pure and says what an update makes of a transaction; `apply_update` makes it so, once, with
one ledger row and what the host is then owed. `apply_movement` is the small door beside it, for the rows
of captures and refunds.
"""

from .coverage import hear_failed_capture, is_covered, settle_captures
from .decision import TRANSITIONS, Decision, Facts, Verdict, decide
from .door import Outcome, apply_update
from .hearing import hear_refund, misses_amount
from .movements import (
    apply_movement,
    approve_movement,
    conclude_movement,
    left_to_capture,
    left_to_refund,
    open_movement,
    withdraw_movement,
)
from .reading import read_row
from .recovery import write_recovered

__all__ = [
    "TRANSITIONS",
    "Decision",
    "Facts",
    "Outcome",
    "Verdict",
    "apply_movement",
    "apply_update",
    "approve_movement",
    "conclude_movement",
    "decide",
    "hear_failed_capture",
    "hear_refund",
    "is_covered",
    "left_to_capture",
    "left_to_refund",
    "misses_amount",
    "open_movement",
    "read_row",
    "settle_captures",
    "withdraw_movement",
    "write_recovered",
]
