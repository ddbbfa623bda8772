"""Which function or test holds each of the 24 invariants."""

from collections.abc import Callable, Mapping
from typing import Any

from . import movements, ours, passing, theirs

__all__ = ["INVARIANTS"]

#: A function reads the books or watches; a text is the test that holds what no books can show.
INVARIANTS: Mapping[int, tuple[Callable[..., Any] | str, ...]] = {
    1: (ours.check_evidence, "tests/views/test_pages.py::test_saying_that_it_is_paid_pays_nothing"),
    2: (passing.nothing_written, "tests/views/test_callbacks.py::test_what_the_gateway_did_not_sign_leaves_no_trace"),
    3: (ours.check_final, passing.check_since),
    4: (ours.check_moves, movements.check_ladders, passing.check_since),
    5: (ours.check_amounts, passing.check_since, theirs.check_asked),
    6: (ours.check_paid_in_full, theirs.check_taken),
    7: (
        movements.check_caps,
        movements.check_totals,
        theirs.check_given_back,
        "tests/test_movements.py::test_two_who_ask_at_once_cannot_both_have_it",
    ),
    8: (
        ours.check_fulfilments,
        theirs.check_convergence,
        "tests/test_dispatch.py::test_two_deliveries_at_once_have_one_effect",
    ),
    9: (ours.check_outbox, passing.check_since),
    10: (
        ours.check_inbox,
        passing.check_since,
        theirs.check_acknowledged,
        "tests/views/test_callbacks.py::test_without_a_database_nothing_is_acknowledged",
    ),
    11: (ours.check_effects, "tests/test_races.py::test_a_hundred_copies_of_one_callback_are_one"),
    12: (
        ours.check_order_free,
        "tests/test_exhaustion.py::test_every_sequence_of_one_payment_ends_where_its_set_says",
    ),
    13: (ours.check_duplicates, theirs.check_one_session),
    14: (
        theirs.check_same_key,
        theirs.check_one_refund,
        "tests/gateways/test_http.py::test_an_effect_whose_answer_was_lost_happens_once",
    ),
    15: (passing.Watch,),
    16: (theirs.check_convergence,),
    17: (ours.check_late, theirs.check_convergence),
    18: (
        "tests/views/test_api.py::test_not_yours_and_not_there_are_the_same",
        "tests/test_consumers.py::test_strangers_and_wrong_ids_are_refused_alike",
    ),
    19: (
        "tests/test_consumers.py::test_what_is_said_was_just_read",
        "tests/test_consumers.py::test_an_older_read_is_not_sent",
    ),
    20: (
        ours.check_tenancy,
        "tests/services/test_callbacks.py::test_another_accounts_secret_cannot_touch_our_transaction",
    ),
    21: ("tests/test_silence.py::test_no_canary_leaves_its_cage", "tests/test_silence.py::test_the_broker_holds_ids"),
    22: ("tests/gateways/test_signing.py::test_five_minutes_are_allowed_to_both_sides",),
    23: (ours.check_retries, movements.check_pace, "tests/gateways/test_http.py::test_tries_are_counted"),
    24: (ours.check_staff, movements.check_people, "tests/admin/test_lists.py::test_nobody_adds_edits_or_deletes"),
}
