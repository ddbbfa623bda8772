"""The books of a scripted gateway, and the plain hosted protocol over them: docs/reference/hosted-protocol."""

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs, unquote

__all__ = ["Asked", "Books", "RecordedRequest", "Refused"]

Reply = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class RecordedRequest:
    """One call as it reached the gateway; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""

    @property
    def json(self) -> Any:
        """The decoded body; None when it is empty or not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def key(self) -> str:
        """The Idempotency-Key, or nothing."""
        return self.headers.get("idempotency-key", "")


class Refused(Exception):
    """The gateway says no; `code` says why."""

    def __init__(self, code: str, status: int = 422) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


@dataclass(frozen=True)
class Asked:
    """What a session was opened with, and what is not told with its status."""

    amount: Any
    order_id: str = ""
    manual: bool = False
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Books:
    """Sessions, refunds, and what a call does to them. Write `work` for another vendor's wire.

    `sessions` holds what is told of each session, `refunds` of each refund; a test may change both.
    `next_refund` is what the next refunds become, `shown_at_once` how many payments a list has on a page.
    """

    next_refund = "succeeded"
    shown_at_once = 100

    def __init__(self) -> None:
        self.sessions: dict[str, dict[str, Any]] = {}
        self.refunds: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, Asked] = {}
        self._refunded: dict[str, str] = {}
        self._keys: dict[str, tuple[Any, Callable[[], dict[str, Any]]]] = {}
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """Where its pages are."""
        return ""

    # --- What a test tells the gateway.

    def set_status(self, reference: str, status: str, **fields: Any) -> None:
        """What is true about a session from now on."""
        with self._lock:
            self.sessions[reference].update(status=status, **fields)

    def pay(self, reference: str, amount: str | None = None, currency: str | None = None) -> None:
        """The shopper pays, the right amount unless another one is named; of a manual session, it is reserved."""
        told = self.sessions[reference]
        paid, currency = amount or told["amount"], currency or told["currency"]
        if self.asked[reference].manual:
            self.set_status(reference, "authorized", authorized=paid, currency=currency)
        else:
            self.set_status(reference, "success", amount=paid, currency=currency)

    def set_refund(self, refund_reference: str, status: str, reason: str = "") -> None:
        """What has become of a refund; the bank may send one back that has succeeded."""
        with self._lock:
            self.refunds[refund_reference].update(status=status, reason=reason)
            self._count_refunds(self._refunded[refund_reference])

    def refund_at_the_console(self, reference: str, amount: str) -> str:
        """Somebody gives money back without us; the reference of the refund."""
        with self._lock:
            wanted = {"amount": amount, "currency": self.sessions[reference]["currency"]}
            return str(self._give_back(reference, wanted)["refund_reference"])

    def dispute(self, reference: str, status: str = "open", **fields: Any) -> None:
        """The shopper's bank disputes the payment, or decides.

        Args:
            status: open, under_review, won or lost.
            fields: any of `dispute_reference`, `dispute_amount`, `dispute_due_at`, `dispute_reason`.
        """
        with self._lock:
            told = self.sessions[reference]
            known = {"dispute_reference": f"dp_{reference}", "dispute_amount": told["amount"]}
            told.update({**known, "dispute_reason": "fraudulent", **told, "dispute_status": status, **fields})

    # --- What a call does.

    def work(self, request: RecordedRequest) -> Reply:
        """Do what a call asks for; its status and JSON answer."""
        try:
            return self._do(request)
        except Refused as no:
            return no.status, {"code": no.code}

    def _do(self, request: RecordedRequest) -> Reply:
        verb, _, rest = request.path.strip("/").partition("/")
        reference = unquote(rest)
        match request.method, verb:
            case "POST", "create-session":
                return self._once(request, 201, self._create)
            case "GET", "find":
                return 200, self._find(reference)
            case "GET", "status":
                return 200, dict(self._session(reference))
            case "POST", "cancel":
                return 200, self._cancel(reference)
            case "POST", "capture":
                return self._once(request, 200, lambda wanted: self._capture(reference, wanted))
            case "POST", "refund":
                return self._once(request, 201, lambda wanted: self._refund(reference, wanted))
            case "GET", "refund" if reference in self.refunds:
                return 200, dict(self.refunds[reference])
            case "GET", "refunds":
                return 200, {"refunds": self._refunds_of(self._session(reference)["reference"])}
            case "GET", "list":
                return 200, self._list(parse_qs(request.query))
        raise Refused("not_found", 404)

    def _once(
        self, request: RecordedRequest, status: int, do: Callable[[dict[str, Any]], Callable[[], dict[str, Any]]]
    ) -> Reply:
        """The same key is the same call: done once, and answered with what is true by now."""
        wanted = request.json
        if not request.key or not isinstance(wanted, dict) or not {"amount", "currency"} <= wanted.keys():
            raise Refused("bad_request")
        asked = request.path, wanted
        if request.key not in self._keys:
            self._keys[request.key] = asked, do(wanted)
        first, read = self._keys[request.key]
        if first != asked:
            raise Refused("key_reused")
        return status, read()

    def _create(self, wanted: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        reference = f"ps_{uuid.uuid4().hex}"
        told = {name: wanted.get(name) for name in ("transaction_id", "amount", "currency")}
        self.sessions[reference] = {"reference": reference, "status": "pending", **told}
        manual = wanted.get("capture") == "manual"
        self.asked[reference] = Asked(wanted["amount"], str(wanted.get("order_id", "")), manual)
        return lambda: {**self.sessions[reference], "payment_url": f"{self.url}pay/{reference}"}

    def _find(self, transaction_id: str) -> dict[str, Any]:
        for reference, session in self.sessions.items():
            if session["transaction_id"] == transaction_id:
                return {**session, "payment_url": f"{self.url}pay/{reference}"}
        raise Refused("not_found", 404)

    def _session(self, reference: str) -> dict[str, Any]:
        if reference not in self.sessions:
            raise Refused("not_found", 404)
        return self.sessions[reference]

    def _cancel(self, reference: str) -> dict[str, Any]:
        """An unpaid session is closed; of an authorization, what was not captured is let go."""
        session = self._session(reference)
        if session["status"] == "authorized" and session.get("captured"):
            session.update(status="success", amount=session["captured"])
        elif session["status"] in {"pending", "authorized"}:
            session["status"] = "canceled"
        return dict(session)

    def _capture(self, reference: str, wanted: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        session = self._session(reference)
        amount = _asked_amount(wanted, session)
        if session["status"] != "authorized":
            raise Refused("not_authorized")
        taken = _number(session.get("captured", "0")) + amount
        if taken > _number(session["authorized"]):
            raise Refused("too_much")
        session["captured"] = str(taken)
        if wanted.get("final", True) or taken == _number(session["authorized"]):
            session.update(status="success", amount=session["captured"])
        return lambda: dict(session)

    def _refund(self, reference: str, wanted: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        self._session(reference)
        refund = self._give_back(reference, wanted)
        return lambda: dict(refund)

    def _give_back(self, reference: str, wanted: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions[reference]
        amount = _asked_amount(wanted, session)
        given = sum(_number(one["amount"]) for one in self._refunds_of(reference) if one["status"] != "failed")
        captured = session["amount"] if session["status"] == "success" else session.get("captured", "0")
        if given + amount > _number(captured):
            raise Refused("too_much")
        number = f"re_{uuid.uuid4().hex}"
        told = {"refund_id": str(wanted.get("refund_id", "")), "status": self.next_refund, "reason": ""}
        money = {"amount": wanted["amount"], "currency": session["currency"]}
        self.refunds[number] = {"refund_reference": number, **told, **money}
        self._refunded[number] = reference
        self._count_refunds(reference)
        return self.refunds[number]

    def _refunds_of(self, reference: str) -> list[dict[str, Any]]:
        return [dict(refund) for number, refund in self.refunds.items() if self._refunded.get(number) == reference]

    def _count_refunds(self, reference: str) -> None:
        """The total is of what has gone back; what may still fail is not in it."""
        gone = [_number(one["amount"]) for one in self._refunds_of(reference) if one["status"] == "succeeded"]
        self.sessions[reference]["refunded"] = str(sum(gone, Decimal(0)))

    def _list(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        try:
            since, until = (datetime.fromisoformat(query[name][0]) for name in ("since", "until"))
        except (KeyError, ValueError) as error:
            raise Refused("bad_request") from error
        after = query.get("after", [""])[0]
        found = [name for name, asked in self.asked.items() if since <= asked.created_at < until]
        rest = found[found.index(after) + 1 :] if after in found else found
        shown = rest[: self.shown_at_once]
        more = len(rest) > len(shown)
        return {"payments": [self._listed(name) for name in shown], "next": shown[-1] if more else ""}

    def _listed(self, reference: str) -> dict[str, Any]:
        asked = self.asked[reference]
        more = {"order_id": asked.order_id, "asked_amount": asked.amount, "created_at": asked.created_at.isoformat()}
        return {**self.sessions[reference], **more}


def _asked_amount(wanted: Mapping[str, Any], session: Mapping[str, Any]) -> Decimal:
    amount = _number(wanted["amount"])
    if amount <= 0 or wanted["currency"] != session["currency"]:
        raise Refused("amount")
    return amount


def _number(text: object) -> Decimal:
    try:
        return Decimal(str(text))
    except InvalidOperation as error:
        raise Refused("amount") from error
