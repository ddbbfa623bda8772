"""How Mollie speaks."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from .books import Session, Wanted
from .dialects import Answer, Dialect, decimal, minor_of
from .till import GivenBack

__all__ = ["MollieDialect"]


class MollieDialect(Dialect):
    """Payments; a callback is an unsigned hint. Mollie decides itself how long one can be paid."""

    alias = "mollie"
    BACKEND = "django_gatewaypay.gateways.mollie.MollieGateway"
    OPTIONS = {"api_base": "https://mollie.example", "api_key": "test_of_this_world"}
    content_type = "application/x-www-form-urlencoded"
    KEY_TTL = 3600
    RETURNS = False
    WORDS: ClassVar[Mapping[str, str]] = {"processing": "pending"}
    REFUNDS: ClassVar[Mapping[str, str]] = {"succeeded": "refunded"}

    def serve(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """See `Dialect`."""
        key, path = headers.get("Idempotency-Key", ""), path.partition("?")[0].removeprefix("/v2/payments")
        if (method, path) == ("POST", ""):
            return self._open(key, json.loads(body))
        if (method, path) == ("GET", ""):
            newest = list(self.books.sessions.values())[::-1]
            return 200, {"_embedded": {"payments": [self._payment(one) for one in newest]}}
        reference, _, rest = path.strip("/").partition("/")
        session = self.books.sessions.get(reference.replace("tr_", "mollie_"))
        if session is None:
            return 404, {"status": 404, "title": "Not Found"}
        if rest.startswith("refunds"):
            return self._serve_refunds(session, rest.partition("/")[2], key, body)
        if rest == "captures" and not body:
            return 200, {"_embedded": {"captures": self._captures(session)}}
        if rest == "captures":
            return self._capture(key, session, json.loads(body)["amount"])
        # The answer to a release is empty of news: the payment itself tells.
        done = method != "DELETE" or self.books.cancel(session)
        if not done or (rest and not self.till.release(session)):
            return self.refuse("Unprocessable Entity")
        return 200, self._payment(session)

    def _serve_refunds(self, session: Session, reference: str, key: str, body: bytes) -> Answer:
        if reference:
            found = self.till.refunds.get(reference)
            return (200, self._given(found)) if found else (404, {"status": 404, "title": "Not Found"})
        if not body:
            return 200, {"_embedded": {"refunds": [self._given(one) for one in self.till.of(session)]}}
        asked = json.loads(body)
        minor, ours = minor_of(asked["amount"]["value"]), asked["metadata"]["refund_id"]
        given = self.till.refund(key, session, minor, ours)
        return self.refuse(given) if isinstance(given, str) else (201, self._given(given))

    def _capture(self, key: str, session: Session, amount: Mapping[str, str]) -> Answer:
        slowly = self.till.chance.random() < 0.5
        word = self.till.capture(key, session, minor_of(amount["value"]), final=True, slowly=slowly)
        return self.refuse(word) if word else (201, {"id": f"cpt_{session.reference}", "status": "pending"})

    def _captures(self, session: Session) -> list[dict[str, Any]]:
        statuses = ["succeeded"] * len(session.takings) + ["pending"] * session.taking
        return [{"id": f"cpt_{session.reference}", "status": status} for status in statuses]

    def _given(self, given: GivenBack) -> dict[str, Any]:
        return {
            "id": given.reference,
            "status": self.REFUNDS.get(given.status, given.status),
            "amount": {"value": decimal(given.minor), "currency": given.session.captured_currency},
            "metadata": {"transaction_id": given.session.wanted.transaction_id, "refund_id": given.refund_id},
        }

    def _open(self, key: str, asked: Mapping[str, Any]) -> Answer:
        amount = asked["amount"]
        manual = asked.get("captureMode") == "manual"
        ours = asked["metadata"]["transaction_id"]
        wanted = Wanted(ours, minor_of(amount["value"]), amount["currency"], manual=manual)
        session = self.books.open(key, wanted)
        if isinstance(session, str):
            return self.refuse(session)
        return 201, self._payment(session)

    def no(self, code: str) -> dict[str, Any]:
        return {"status": 422, "title": code, "field": "amount"}

    def _payment(self, session: Session) -> dict[str, Any]:
        reference = session.reference.replace("mollie_", "tr_")
        minor, currency = session.authorized or session.captured or session.wanted.minor, session.captured_currency
        taken = session.captured if session.authorized else 0
        out = sum(one.minor for one in self.till.of(session) if one.status != "failed")
        totals = {"amountCaptured": taken, "amountRefunded": out}
        return {
            "id": reference,
            "status": self.WORDS.get(session.status, session.status),
            "isCancelable": session.status == "open" and session.cancelable,
            "amount": {"value": decimal(minor), "currency": currency or session.wanted.currency},
            **{name: {"value": decimal(total), "currency": currency} for name, total in totals.items() if total},
            "metadata": {"transaction_id": session.wanted.transaction_id},
            "_links": {"checkout": {"href": f"https://mollie.example/checkout/{reference}"}},
        }

    def messages(self, session: Session, what: str, given: GivenBack | None = None) -> list[tuple[str, bytes]]:
        """See `Dialect`."""
        if what == "attempt failed":
            return []  # it happens on Mollie's page, and nobody is told
        reference = session.reference.replace("mollie_", "tr_")
        return [("", f"id={quote(reference)}".encode())]

    def sign(self, event_id: str, body: bytes, unix: int) -> dict[str, str]:
        return {}
