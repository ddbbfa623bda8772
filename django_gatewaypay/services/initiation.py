"""Start a payment: a row, then the gateway, then the door."""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, ValidationError
from django.db import IntegrityError, router, transaction
from django.http import Http404
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ..conf import settings
from ..exceptions import (
    IdempotencyConflict,
    OrderNotFound,
    OrderNotPayable,
    PaymentInProgress,
    UnknownGateway,
)
from ..gateways.base import Gateway
from ..models import Transaction, TransactionEvent, insert
from ..models.statements import Select
from ..money import InvalidAmount, to_minor
from ..orders import Quote, order_handler
from ..registry import gateways
from ..schedule import CLAIM_LEASE
from ..types import CAPTURE_WORDS, CLOSED_STATES, Source, State
from . import access
from .lookup import ask_email_digest
from .refreshing import cancel, expire
from .sessions import open_session

__all__ = ["Initiated", "initiate"]

logger = logging.getLogger("gatewaypay.initiate")

MAX_MINOR = 10**15


@dataclass(frozen=True)
class Initiated:
    """A payment that the shopper can go on with.

    Args:
        transaction: the row, with the way to the gateway in `next_action`.
        token: the capability to see it from anywhere; shown to its owner only.
        replayed: an earlier request had started it.
    """

    transaction: Transaction
    token: str
    replayed: bool


@sensitive_variables("return_url", "idempotency_key")
def initiate(
    order_id: str,
    *,
    request: Any = None,
    gateway: str = "",
    return_url: str = "",
    idempotency_key: str = "",
) -> Initiated:
    """Start the payment of an order, or join the one that is open.

    Call it outside of any database transaction: what it writes must survive whatever the gateway does.

    Args:
        order_id: the host's order; its price comes from `OrderHandler.quote`.
        request: the shopper's request; its user becomes the owner. None in scripts.
        gateway: an alias of `GATEWAYS`; the default one when empty.
        return_url: where our page leads the shopper afterwards; the caller has checked it.
        idempotency_key: the caller's key; a retry under it finds the same payment.

    Raises:
        OrderNotFound, OrderNotPayable: says the host.
        UnknownGateway: no such alias.
        IdempotencyConflict: the key was used with another request.
        PaymentInProgress: it is being opened right now, or cannot be replaced.
        GatewayDeclined, GatewayRejected: a definite no; the transaction is `failed`.
        GatewayUnavailable: no answer; the transaction stays `created`, a retry finds it.
        ImproperlyConfigured: the alias is to capture in a way that its gateway does not offer.
        RuntimeError: called inside a database transaction.
    """
    alias = _known_alias(gateway)
    wish = Wish(str(order_id), alias, return_url, idempotency_key, access.owner_key(request))
    earlier = wish.find_by_key()
    if earlier and earlier.user_id is not None:
        return _resume(earlier)
    quote = ask_quote(wish.order_id, request)
    if earlier:
        return _resume(earlier)
    minor, manual = _checked_amount(quote, gateways[alias]), _wants_manual_capture(quote, gateways[alias])
    joined = _join_open(wish, minor, manual, request)
    if joined:
        return _resume(joined)
    try:
        row = _insert(wish, quote, minor, manual, access.owner_user(request))
    except IntegrityError:
        faster = wish.find_by_key() or _join_open(wish, minor, manual, request)
        if faster is None:
            raise PaymentInProgress from None
        return _resume(faster)
    logger.info("created transaction=%s order=%r gateway=%s", row.pk, row.order_id, alias)
    return Initiated(open_session(row), access.mint_token(row.pk), replayed=False)


@dataclass(frozen=True)
class Wish:
    """What was asked for, and by whom."""

    order_id: str
    alias: str
    # Not in its repr, which error pages and traceback mails show.
    return_url: str = field(repr=False)
    idempotency_key: str = field(repr=False)
    owner_key: str

    @property
    def fingerprint(self) -> str:
        asked = json.dumps([self.order_id, self.alias, self.return_url])
        return hashlib.sha256(asked.encode()).hexdigest()

    def find_by_key(self) -> Transaction | None:
        """The transaction that this key started.

        Raises:
            IdempotencyConflict: with another request.
        """
        if not self.idempotency_key:
            return None
        found = Transaction.objects.filter(owner_key=self.owner_key, idempotency_key=self.idempotency_key).first()
        if found and found.fingerprint != self.fingerprint:
            raise IdempotencyConflict
        return found


def _known_alias(gateway: str) -> str:
    alias = gateway or settings.default_gateway()
    if alias not in settings.GATEWAYS:
        raise UnknownGateway(f"There is no gateway {alias!r}.")
    return alias


def ask_quote(order_id: str, request: Any) -> Quote:
    """The host's price.

    Raises:
        OrderNotFound: also when the host's own look-up finds nothing, or cannot read the id.
        OrderNotPayable: says the host.
    """
    try:
        return order_handler().quote(order_id, request=request)
    except (ObjectDoesNotExist, Http404) as error:
        raise OrderNotFound from error
    except (ValueError, TypeError, ValidationError) as error:
        # `Order.objects.get(pk="x")` raises ValueError; so may a bug of the host, hence the traceback.
        logger.warning("quote could not read order=%r", order_id, exc_info=True)
        raise OrderNotFound from error


def _checked_amount(quote: Quote, gateway: Gateway) -> int:
    """The quoted amount in minor units.

    Raises:
        OrderNotPayable: it is not a payable amount at this gateway.
    """
    currency = quote.amount.currency.code
    if gateway.currencies is not None and currency not in gateway.currencies:
        raise OrderNotPayable(f"{gateway.name} does not take {currency}.")
    try:
        minor = to_minor(quote.amount)
    except InvalidAmount as error:
        logger.exception("the quoted price is no amount of its currency currency=%s", currency)
        raise OrderNotPayable("The order has no payable amount.") from error
    if not 0 < minor <= MAX_MINOR:
        raise OrderNotPayable("The order has no payable amount.")
    return minor


def _wants_manual_capture(quote: Quote, gateway: Gateway) -> bool:
    """Whether the amount is only reserved; the quote's word stands before the alias's. It is never taken instead.

    Raises:
        OrderNotPayable: the quote wants it, and this gateway does not offer it.
        ImproperlyConfigured: so does the alias; or there is no such word.
    """
    word = quote.capture or settings.GATEWAYS.get(gateway.alias, {}).get("CAPTURE") or "auto"
    if word not in CAPTURE_WORDS:
        raise ImproperlyConfigured(f'A capture is "auto" or "manual", not {word!r} ({gateway.alias}).')
    if word == "manual" and not gateway.supports_capture:
        if quote.capture:
            raise OrderNotPayable(f"{gateway.name} cannot be used for this order: it takes the money at once.")
        raise ImproperlyConfigured(f"{gateway.name} ({gateway.alias}) cannot reserve an amount to be captured later.")
    return word == "manual"


def _join_open(wish: Wish, minor: int, manual: bool, request: Any) -> Transaction | None:
    """The open payment of the same order at the same account, if it is still the right one.

    Raises:
        OrderNotFound: it belongs to another user.
        PaymentInProgress: it is for another amount, and cannot be closed any more.
    """
    row = _find_open(wish)
    if row is None:
        return None
    if row.user_id is not None and not access.owns(row, request):
        raise OrderNotFound
    closable = row.state in {State.CREATED, State.PENDING}
    overdue = closable and row.expires_at <= timezone.now()
    same = row.amount_minor == minor and (row.manual_capture is manual or not closable)
    if same and not overdue:
        return row
    if closable:
        row = expire(row.pk) if overdue else cancel(row.pk)
    if row.state in CLOSED_STATES:
        return None
    raise PaymentInProgress("This order has a payment that is not decided yet.", transaction_id=str(row.pk))


def _find_open(wish: Wish) -> Transaction | None:
    """There is one at most: the database sees to it."""
    found = _open_payments(router.db_for_read(Transaction)).fetch(gateway=wish.alias, order_id=wish.order_id)
    return found[0] if found else None


@cache
def _open_payments(using: str) -> Select[Transaction]:
    return Select.of(Transaction.objects.using(using).open(), ("gateway", "order_id"))


def _insert(wish: Wish, quote: Quote, minor: int, manual: bool, user: Any) -> Transaction:
    digest, now = ask_email_digest(wish.order_id), timezone.now()
    row = Transaction(
        order_id=wish.order_id,
        gateway=wish.alias,
        description=quote.description[:255],
        amount_minor=minor,
        currency=quote.amount.currency.code,
        manual_capture=manual,
        email_digest=digest,
        return_url=wish.return_url,
        user=user,
        owner_key=wish.owner_key,
        idempotency_key=wish.idempotency_key,
        fingerprint=wish.fingerprint,
        created_at=now,
        updated_at=now,
        expires_at=now + settings.EXPIRE_AFTER,
        next_poll_at=now + CLAIM_LEASE,
        claimed_until=now + CLAIM_LEASE,
    )
    row.token_hash = access.hash_token(access.mint_token(row.pk))
    # Durable: inside somebody's transaction this commit would not be one.
    with transaction.atomic(durable=True):
        insert(row)
        insert(
            TransactionEvent(
                transaction=row,
                kind=TransactionEvent.Kind.MOVED,
                version=0,
                to_state=State.CREATED,
                source=Source.INITIATE,
                actor=user,
                created_at=now,
            )
        )
    return row


def _resume(row: Transaction) -> Initiated:
    """Answer an earlier payment again, opening its session if nobody has managed to yet."""
    if row.state == State.CREATED:
        row = open_session(_claim(row))
    return Initiated(row, access.mint_known_token(row), replayed=True)


def _claim(row: Transaction) -> Transaction:
    now = timezone.now()
    free = Transaction.objects.filter(pk=row.pk, state=State.CREATED).unclaimed(now)
    if not free.update(claimed_until=now + CLAIM_LEASE):
        row = Transaction.objects.get(pk=row.pk)
        if row.state == State.CREATED:
            raise PaymentInProgress(transaction_id=str(row.pk))
    return row
