"""The one door. Nothing else changes what a transaction is.

`decide` is pure and says what an update makes of a transaction; `apply_update` makes it so, once, with
one ledger row and what the host is then owed.
"""

from .decision import TRANSITIONS, Decision, Facts, decide
from .door import Outcome, apply_update

__all__ = ["TRANSITIONS", "Decision", "Facts", "Outcome", "apply_update", "decide"]
