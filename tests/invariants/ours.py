"""What a state of our own books can show. Each function takes the books and holds the invariant of its number."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

from moneyed import CURRENCIES, Money

from django_gatewaypay.conf import settings
from django_gatewaypay.lifecycle import TRANSITIONS
from django_gatewaypay.models import Callback, Fulfilment, Transaction, TransactionEvent
from django_gatewaypay.money import to_minor
from django_gatewaypay.types import CLOSED_STATES, OPEN_STATES, State

from .books import Books, hold
from .movements import MOVEMENTS

__all__ = ["OURS"]

#: Sources that have read the gateway's own word over an authenticated call.
READ = frozenset({"initiate", "poll", "return", "expiry", "cancel", "staff"})
REPLAYED = ("late", "attention", "captured_minor", "authorized_minor", "refunded_minor", "reason")
#: Why a paid transaction may owe the host nothing: staff decide.
REVIEWED = frozenset({"late", "duplicate_payment"})
TAKEN = frozenset({State.HELD, State.SUCCESS})


def check_evidence(books: Books) -> None:
    """1: every move to success or failed has one stored evidence, which says so, or a person who has decided."""
    for row, ledger in books.rows():
        for event in moves(ledger, {State.SUCCESS, State.FAILED}):
            said = event.callback_id is not None if event.source == "callback" else event.source in READ
            hold(1, said, f"{row.pk} became {event.to_state} by {event.source}, without evidence")
            right = event.evidence.get("state") == event.to_state or _is_agreed(event)
            hold(1, right, f"{row.pk}: {event.evidence} is no {event.to_state}")


def _is_agreed(event: TransactionEvent) -> bool:
    """All that a person takes for the whole is there: by that person's word, or at the end of a payment in part."""
    taken = event.to_state == State.SUCCESS and event.evidence.get("agreed_minor") == event.captured_minor > 0
    by_person = event.source == "staff" and event.actor_id is not None and event.note.strip()
    return taken and bool(by_person or event.evidence.get("state") or event.evidence.get("captured"))


def check_final(books: Books) -> None:
    """3: nothing follows success but success."""
    for row, ledger in books.rows():
        states = [event.to_state for event in changes(ledger)] + [row.state]
        after = states[states.index("success") :] if "success" in states else []
        hold(3, set(after) <= {"success"}, f"{row.pk} left success: {states}")


def check_moves(books: Books) -> None:
    """4: every move is legal, every version has one event, and replaying the ledger gives the row."""
    for row, ledger in books.rows():
        entries = changes(ledger)
        versions = [event.version for event in entries]
        hold(4, versions == list(range(row.version + 1)), f"{row.pk}: version {row.version}, ledger {versions}")
        hold(4, (entries[0].kind, entries[0].to_state) == ("moved", "created"), f"{row.pk} began as {entries[0]}")
        for before, event in pairwise(entries):
            _check_entry(before, event)
        hold(4, entries[-1].to_state == row.state, f"{row.pk}: {row.state} is not what the ledger says")
        for name in REPLAYED:
            same = getattr(entries[-1], name) == getattr(row, name)
            hold(4, same, f"{row.pk}: {name} is not what the ledger says")


def _check_entry(before: TransactionEvent, event: TransactionEvent) -> None:
    where = f"{event.transaction_id} {event}"
    hold(4, event.from_state == before.to_state, f"{where} does not follow {before}")
    hold(4, (event.kind == "moved") == (event.from_state != event.to_state), f"{where} is no {event.kind}")
    legal = TRANSITIONS[State(event.from_state)]
    hold(4, event.kind == "amended" or State(event.to_state) in legal, f"{where} is illegal")


def check_amounts(books: Books) -> None:
    """5: amounts are positive whole minor units of a known currency; totals only rise."""
    for row, ledger in books.rows():
        hold(5, isinstance(row.amount_minor, int) and row.amount_minor > 0, f"{row.pk}: {row.amount_minor}")
        hold(5, row.currency in CURRENCIES, f"{row.pk}: {row.currency}")
        for name in ("captured_minor", "authorized_minor", "refunded_minor"):
            totals = [0, *(getattr(event, name) for event in changes(ledger)), getattr(row, name)]
            hold(5, totals == sorted(totals), f"{row.pk}: {name} fell: {totals}")


def check_paid_in_full(books: Books) -> None:
    """6: success was captured in full, in our currency, on our session; other money is held and flagged."""
    for row, ledger in books.rows():
        for event in moves(ledger, {State.SUCCESS}):
            amount, _, code = event.evidence.get("captured", "").partition(" ")
            whole = event.evidence.get("agreed_minor", row.amount_minor)
            exact = code == row.currency and to_minor(Money(amount, code)) == whole
            hold(6, exact or _is_agreed(event), f"{row.pk}: {whole} {row.currency} became success by {amount} {code}")
            session = event.evidence.get("gateway_reference") or row.gateway_reference
            hold(6, session == row.gateway_reference, f"{row.pk} became success by another session {session}")
        exact, told = row.captured_minor == row.whole_minor, told_to_staff(row, ledger)
        if row.state == State.SUCCESS:
            hold(6, row.captured_minor >= row.whole_minor, f"{row.pk} is success with {row.captured_minor}")
            hold(6, exact or "mismatch" in told, f"{row.pk}: overpaid, and nobody is told")
        if row.state == State.HELD:
            hold(6, row.reason and {"mismatch", "recovered"} & told, f"{row.pk} is held, and nobody is told why")
        last = changes(ledger)[-1].evidence.get("agreed_minor")
        hold(6, last == row.agreed_minor, f"{row.pk}: {row.agreed_minor} was agreed to, and the ledger says {last}")


def check_fulfilments(books: Books) -> None:
    """8: one fulfilment an order, only for a paid transaction, and as many effects as rows that are done."""
    for owed in books.fulfilments.values():
        row = books.transactions[owed.transaction_id]
        key = f"fulfil:{owed.order_id}" if owed.kind == "fulfil" else f"release:{row.pk}"
        hold(8, (owed.key, owed.order_id) == (key, row.order_id), f"{owed} is not the key of {row.pk}")
        hold(8, owed.kind != "fulfil" or row.state == State.SUCCESS, f"{owed} is owed for {row.state}")
    done = Counter((owed.order_id, owed.kind) for owed in books.fulfilments.values() if owed.state == "done")
    for pk, order in books.orders.items():
        effects = order.fulfilments
        hold(8, effects == done[pk, "fulfil"] <= 1, f"order {pk}: {effects} effects of {done[pk, 'fulfil']}")
        released = getattr(order, "releases", 0)
        hold(8, released <= done[pk, "release"], f"order {pk}: {released} releases of {done[pk, 'release']}")


def check_outbox(books: Books) -> None:
    """9: there is an outbox row if and only if the transition that needs it was committed."""
    owed = {row.key: row.transaction_id for row in books.fulfilments.values()}
    for row, ledger in books.rows():
        ended = any(State(event.from_state) in OPEN_STATES for event in moves(ledger, CLOSED_STATES))
        hold(9, ended == (f"release:{row.pk}" in owed), f"{row.pk}: ended {ended}, release owed {not ended}")
        for event in moves(ledger, {State.SUCCESS}):
            reviewed = REVIEWED & frozenset(event.attention.split())
            earned = owed.get(f"fulfil:{row.order_id}") == row.pk
            hold(9, earned or reviewed or owes_it_back(row, books), f"{row.pk} is paid; nothing is owed, nobody told")


def owes_it_back(row: Transaction, books: Books) -> bool:
    """Late money that goes back by itself: all of it, once, and asked for by nobody."""
    own = [one for one in books.refunds.values() if one.transaction_id == row.pk]
    automatic = [one for one in own if one.idempotency_key == "gatewaypay-late" and one.actor_id is None]
    return row.late and [one.amount_minor for one in automatic] == [row.amount_minor]


def check_inbox(books: Books) -> None:
    """10: what was taken in is worked on, or waits for its time, or was given up where staff see it."""
    for row in books.callbacks.values():
        waits = row.state in {Callback.State.RECEIVED, Callback.State.UNMATCHED}
        hold(10, waits == (row.next_attempt_at is not None), f"callback {row} is {row.state} and forgotten")
        processed = row.state == Callback.State.PROCESSED
        hold(10, processed == (row.processed_at is not None), f"callback {row} is {row.state}, worked on or not")


def check_effects(books: Books) -> None:
    """11: one event has one effect: an inbox row that states something changed its transaction at most once."""
    events = [event for _, ledger in books.rows() for event in changes(ledger) if event.callback_id]
    counts = Counter(event.callback_id for event in events)
    # A thin one only makes us ask, and asking twice may find two things.
    twice = [pk for pk, count in counts.items() if count > 1 and "state" in books.callbacks[pk].update]
    hold(11, not twice, f"callbacks {twice} had more than one effect")
    known = Counter((row.gateway, row.event_id) for row in books.callbacks.values())
    hold(11, max(known.values(), default=1) == 1, f"an event is in the inbox twice: {known.most_common(1)}")


def check_order_free(books: Books) -> None:
    """12: no word about our session that outranks the state was passed over, whenever it came."""
    for row, ledger in books.rows():
        # What is said of a refund, a capture or a dispute is in words of their own.
        for event in (event for event in ledger if event.kind in {"moved", "amended", "noted"}):
            session = event.evidence.get("gateway_reference") or row.gateway_reference
            said = State(event.evidence.get("state") or "created")
            rank = min(said.rank, State.HELD.rank) if session == row.gateway_reference else 0
            hold(12, rank <= State(row.state).rank, f"{row.pk} is {row.state} although the gateway said {said}")


def check_duplicates(books: Books) -> None:
    """13: a second paid transaction of an order is flagged; one is open at a time."""
    paid: dict[str, list[Transaction]] = {}
    for row, _ in books.rows():
        kept = row.state == State.SUCCESS and not (row.goes_back and owes_it_back(row, books))
        paid.setdefault(row.order_id, []).extend([row] if kept else [])
    for order, rows in paid.items():
        unflagged = [row.pk for row in rows if not REVIEWED & told_to_staff(row, books.ledger[row.pk])]
        hold(13, len(unflagged) <= 1, f"order {order} was paid by {unflagged}, and nobody is told")
    opened = Counter((row.gateway, row.order_id) for row, _ in books.rows() if row.state in OPEN_STATES)
    hold(13, max(opened.values(), default=1) == 1, f"two are open: {opened.most_common(1)}")


def check_late(books: Books) -> None:
    """17: money after the end surfaces: it moves the transaction, and the row says that it is late."""
    for row, ledger in books.rows():
        late = any(State(event.from_state) in CLOSED_STATES for event in moves(ledger, TAKEN) if event.from_state)
        hold(17, late == row.late, f"{row.pk}: late is {row.late}, and the ledger says {late}")
        unseen = row.state in CLOSED_STATES and row.captured_minor
        hold(17, not unseen, f"{row.pk} is {row.state} with {row.captured_minor} captured")


def check_tenancy(books: Books) -> None:
    """20: a callback touches transactions of its own account only."""
    touched = [(row, row.transaction_id) for row in books.callbacks.values() if row.transaction_id]
    events = [event for _, ledger in books.rows() for event in ledger if event.callback_id]
    touched += [(books.callbacks[event.callback_id], event.transaction_id) for event in events]
    for callback, pk in touched:
        hold(20, callback.gateway == books.transactions[pk].gateway, f"callback {callback} touched {pk}")


def check_retries(books: Books) -> None:
    """23: whatever is tried again has a next time and a cap; what was given up says why."""
    for row, _ in books.rows():
        hold(23, row.next_poll_at or row.state not in OPEN_STATES, f"{row.pk} is {row.state} and never asked about")
    for owed in books.fulfilments.values():
        waits, dead = owed.state == Fulfilment.State.OWED, owed.state == Fulfilment.State.DEAD
        hold(23, dead or waits == (owed.next_attempt_at is not None), f"{owed} is {owed.state} and never tried again")
        pk = owed.transaction_id
        told = "hook_dead" in told_to_staff(books.transactions[pk], books.ledger[pk])
        hold(23, not dead or told or owed.next_attempt_at, f"{owed} was given up and nobody is told")
        # Not for ever: a row that was given up comes up once more, until its payment is flagged.
        hold(23, not dead or owed.last_error, f"{owed} was given up without a word")
    for callback in books.callbacks.values():
        gone = callback.state == Callback.State.DEAD
        said = callback.last_error and callback.next_attempt_at is None
        hold(23, not gone or said, f"{callback} was given up without a word")
        capped = callback.state != Callback.State.RECEIVED or callback.attempts < settings.MAX_ATTEMPTS
        hold(23, capped, f"callback {callback} is still tried after {callback.attempts} attempts")


def check_staff(books: Books) -> None:
    """24: what staff did names who did it, and the ledger what was before and after."""
    for row, ledger in books.rows():
        for event in ledger:
            named = event.source != "staff" or event.actor_id is not None
            hold(24, named, f"{row.pk} {event}: staff without a name")
            hold(24, event.to_state and (event.from_state or event.version == 0), f"{row.pk} {event}: no before")


def changes(ledger: Iterable[TransactionEvent]) -> list[TransactionEvent]:
    """The events that made the row what it is, by version."""
    made = (event for event in ledger if event.kind in {"moved", "amended"})
    return sorted(made, key=lambda event: event.version)


def moves(ledger: Iterable[TransactionEvent], states: Iterable[State]) -> list[TransactionEvent]:
    """The moves into one of the states."""
    return [event for event in ledger if event.kind == "moved" and event.to_state in states]


def told_to_staff(row: Transaction, ledger: Iterable[TransactionEvent]) -> frozenset[str]:
    """The attention codes that are up, and those that a person has dealt with."""
    resolved = {code for event in ledger for code in event.evidence.get("resolved", []) if event.note}
    return row.attention_codes | resolved


OURS: tuple[Callable[[Books], None], ...] = (
    check_moves, check_final, check_evidence, check_amounts, check_paid_in_full, check_fulfilments,
    check_outbox, check_inbox, check_effects, check_order_free, check_duplicates, check_late, check_tenancy,
    check_retries, check_staff, *MOVEMENTS,
)  # fmt: skip
