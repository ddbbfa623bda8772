"""The floors."""

import json
import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..side import Side, configure
from .gateway import Gateway
from .wsgi import Site

__all__ = ["Bare", "Orm", "Raw", "Session", "Status"]

Calls = Sequence[Callable[[], None]]


class Floor(Side):
    """Two tables, and a view for each path."""

    database: ClassVar[str] = "floor"
    packages: ClassVar[Sequence[str]] = ("Django", "psycopg")

    def set_up(self) -> None:
        """See `Side`."""
        configure(["tests.benchmarks.floor"], "tests.benchmarks.floor.urls")
        self.site = Site()
        #: Who shares the tables counts their own rows.
        self.prefix = uuid.uuid4().hex

    def pending(self, count: int) -> list[Any]:
        """So many payments that wait for their callback."""
        from ..floor.models import Payment

        money = {"amount": "19.99", "currency": "EUR"}
        return Payment.objects.bulk_create(
            Payment(reference=self.reference(), gateway="hosted", **money) for _ in range(count)
        )

    def reference(self) -> str:
        """A new one of this process."""
        return f"{self.prefix[:12]}_{uuid.uuid4().hex}"

    @property
    def ours(self) -> Any:
        """The rows of this process."""
        from ..floor.models import Payment

        return Payment.objects.filter(reference__startswith=self.prefix[:12])


class Orm(Floor):
    """The lock, the line and the save of the ORM."""

    repeated: ClassVar[bool] = True
    path: ClassVar[str] = "/callback/orm/"

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [self._told(row) for row in self.pending(count)]

    def done(self) -> int:
        """See `Side`."""
        return int(self.ours.filter(state="success", event__to_state="success").count())

    def _told(self, row: Any) -> Callable[[], None]:
        from ..floor.views import sign

        said = {"event": f"evt_{row.pk.hex}", "id": str(row.pk), "state": "success", "amount": row.amount}
        body = json.dumps(said | {"currency": row.currency, "reference": row.reference}).encode()
        return self.site.post(self.path, {"X-Signature": sign(body)}, body)


class Raw(Orm):
    """One raw statement."""

    path: ClassVar[str] = "/callback/raw/"


class Status(Floor):
    """A plain view over one row."""

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [self.site.get(f"/status/{row.pk}/", {}) for row in self.pending(count)]


class Bare(Floor):
    """A payment is started without asking anybody: what its rows cost."""

    path: ClassVar[str] = "/initiate/bare/"

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [self._asked() for _ in range(count)]

    def done(self) -> int:
        """See `Side`."""
        return int(self.ours.filter(state="pending").count())

    def _asked(self) -> Callable[[], None]:
        body = json.dumps({"reference": self.reference(), "amount": "19.99", "currency": "EUR"}).encode()
        return self.site.post(self.path, {}, body, status=201)


class Session(Bare):
    """The same with one call of the gateway, over a `requests.Session`."""

    path: ClassVar[str] = "/initiate/session/"
    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "requests")

    def set_up(self) -> None:
        """See `Side`."""
        self.gateway = Gateway()
        os.environ["GATEWAYPAY_BENCH_GATEWAY"] = self.gateway.url
        super().set_up()

    def counts(self) -> dict[str, int]:
        """See `Side`."""
        return {"connections": self.gateway.connections()}
