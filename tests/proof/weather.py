"""A gateway is away for a while, and thousands of payments wait: nobody storms it, and all get an answer."""

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import requests
import time_machine
from requests.adapters import BaseAdapter

from .frame import Chunk, Figure, Part, Progress

__all__ = ["Weather"]

BEGINS = datetime(2026, 11, 22, 12, tzinfo=UTC)
GRACE = timedelta(minutes=5)


class Weather(Part):
    """An outage of minutes over thousands of pending payments, second by second on a clock of its own."""

    name = "weather"
    title = "A gateway that is down is left alone, and what waited for it drains without a spike."

    def chunks(self, *, quick: bool) -> Sequence[Chunk]:
        """One where nothing answers, one where everything is refused with 503."""
        rows, minutes = (150, 2) if quick else (5000, 20)
        kinds = ["silence"] if quick else ["silence", "refusal"]
        return [{"db": "sqlite", "rows": rows, "minutes": minutes, "kind": kind, "seed": 7} for kind in kinds]

    def run(self, chunk: Chunk, progress: Progress) -> dict[str, Any]:
        """Play the outage; what the gateway saw in each second."""
        from .database import empty_database

        logging.disable(logging.ERROR)  # an outage is a line for every row
        random.seed(chunk["seed"])
        with empty_database(in_memory=True):
            return Outage(rows=chunk["rows"], minutes=chunk["minutes"], kind=chunk["kind"]).play(progress)

    def figures(self, results: Sequence[Mapping[str, Any]], *, quick: bool) -> list[Figure]:
        """Calls while it was away, and how what waited came back."""
        rows = max(result["rows"] for result in results)
        during = max(result["calls_during"] / result["seconds_during"] for result in results)
        peak = max(result["peak_after"] for result in results)
        even = rows / 60
        drained = max(result["seconds_to_drain"] for result in results)
        refused = max(result["slowest_refusal_ms"] for result in results)
        return [
            Figure("pending payments", rows, "5000" if not quick else "", quick or rows >= 5000),
            Figure("calls a second during the outage", round(during, 3), "≤ 1", during <= 1),
            Figure("most calls in one second after it", peak, "≤ 2.5 × an even minute", peak <= 2.5 * even + 5),
            Figure("seconds until all were right", drained, "≤ 300", drained <= GRACE.total_seconds()),
            Figure(
                "slowest refusal of a new payment, ms of CPU",
                refused,
                "" if quick else "≤ 1000",
                quick or refused <= 1000,
                "while it was away",
            ),
            Figure("paid meanwhile, and found", sum(result["paid"] for result in results)),
        ]


class Outage:
    """A shop with pending payments, a gateway that goes away and comes back, and a clock that is moved by hand."""

    def __init__(self, *, rows: int, minutes: int, kind: str) -> None:
        self.rows = rows
        self.minutes = minutes
        self.kind = kind
        self.away = False
        self.calls: Counter[int] = Counter()
        self.paid: set[str] = set()
        self.second = 0

    def play(self, progress: Progress) -> dict[str, Any]:
        """Pending rows, an outage, and the time until every row is right."""
        with clock_by_hand() as travel, self.gateway():
            self.fill()
            self.pass_time(travel, 30)  # ordinary weather
            self.away, began = True, self.second
            refusals = self.sit_out(travel, progress)
            self.away, ended = False, self.second
            self.pay_half()
            drained = self.drain(travel)
        during = sum(count for second, count in self.calls.items() if began <= second < ended)
        return {
            "rows": self.rows,
            "calls_during": during,
            "seconds_during": ended - began,
            "peak_after": max((count for second, count in self.calls.items() if second >= ended), default=0),
            "seconds_to_drain": drained,
            "slowest_refusal_ms": round(max(refusals) * 1000),
            "paid": len(self.paid),
            "violations": self.violations(),
        }

    # --- What happens.

    def fill(self) -> None:
        """Pending rows whose questions come due within a quarter of an hour, and before the outage ends."""
        from django.utils import timezone

        from django_gatewaypay.models import Transaction
        from tests.factories import make_transaction

        now = timezone.now()
        for _ in range(self.rows):
            row = make_transaction("pending", expires_at=now + timedelta(days=1))
            due = now + timedelta(seconds=random.uniform(0, min(900, self.minutes * 60)))
            Transaction.objects.filter(pk=row.pk).update(next_poll_at=due)

    def pass_time(self, travel: Any, seconds: int) -> None:
        from django_gatewaypay import services

        for _ in range(seconds):
            travel.shift(1)
            self.second += 1
            services.tick()

    def sit_out(self, travel: Any, progress: Progress) -> list[float]:
        """The outage; the seconds of work that it took to refuse a shopper who wanted to pay meanwhile."""
        from django_gatewaypay import services
        from django_gatewaypay.exceptions import GatewayUnavailable
        from tests.factories import make_order

        waited = []
        for minute in range(self.minutes):
            self.pass_time(travel, 60)
            started = time.process_time()
            try:
                services.initiate(str(make_order().pk))
            except GatewayUnavailable:
                waited.append(time.process_time() - started)
            progress((minute + 1) / self.minutes * 0.9)
        return waited

    def pay_half(self) -> None:
        """Shoppers had paid before it went away, and no callback ever came."""
        from django_gatewaypay.models import Transaction

        pending = Transaction.objects.filter(state="pending").order_by("pk").values_list("pk", flat=True)
        self.paid = {str(pk) for pk in pending[: self.rows // 2]}

    def drain(self, travel: Any) -> int:
        """Seconds until every paid payment is a success and every other one was asked about again."""
        from django_gatewaypay.models import Transaction

        began = self.second
        while self.second - began < GRACE.total_seconds():
            self.pass_time(travel, 1)
            if Transaction.objects.filter(state="success").count() == len(self.paid):
                break
        return self.second - began

    def violations(self) -> list[dict[str, str]]:
        from django_gatewaypay.models import Transaction

        lost = Transaction.objects.filter(pk__in=self.paid).exclude(state="success").count()
        false = Transaction.objects.filter(state="success").exclude(pk__in=self.paid).count()
        return [
            {"what": f"{count} {what}", "replay": "python -m tests.proof weather --fresh"}
            for count, what in ((lost, "paid payments were not found"), (false, "unpaid payments are a success"))
            if count
        ]

    # --- The gateway.

    @contextmanager
    def gateway(self) -> Iterator[None]:
        """The account of the suite's settings, with this outage as its network."""
        from django_gatewaypay.gateways.circuit import Circuit
        from django_gatewaypay.registry import gateways

        client = gateways["hosted"].client
        client.circuit = Circuit(time.time)  # the clock that is moved by hand
        client.session.mount(client.base, Network(self))
        yield

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """What the gateway says while it is there."""
        from django_gatewaypay.models import Transaction

        row = Transaction.objects.get(gateway_reference=path.rpartition("/")[2])
        paid = str(row.pk) in self.paid
        return 200, {
            "transaction_id": str(row.pk),
            "reference": row.gateway_reference,
            "status": "success" if paid else "pending",
            "amount": row.amount_text,
            "currency": row.currency,
        }


class Network(BaseAdapter):
    """The wire between the adapter and the gateway, in this process."""

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self.outage = outage

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        self.outage.calls[self.outage.second] += 1
        if self.outage.away and self.outage.kind == "silence":
            raise requests.ConnectTimeout
        status, data = (503, {}) if self.outage.away else self.outage.answer(urlsplit(str(request.url)).path)
        return as_response(request, status, data)

    def close(self) -> None:
        pass


def as_response(request: requests.PreparedRequest, status: int, data: dict[str, Any]) -> requests.Response:
    from io import BytesIO

    from urllib3 import HTTPResponse

    response = requests.Response()
    response.status_code = status
    response.url, response.request = str(request.url), request
    response.raw = HTTPResponse(BytesIO(json.dumps(data).encode()), status=status, preload_content=False)
    return response


@contextmanager
def clock_by_hand() -> Iterator[Any]:
    """Nothing sleeps; the wall clock moves when it is told to."""
    with (
        time_machine.travel(BEGINS, tick=False) as travel,
        patch("django_gatewaypay.gateways.http.time.sleep", lambda _: None),
    ):
        yield travel
