"""This package, over the hosted protocol."""

import base64
import json
import os
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from ..side import Side, configure
from .gateway import Gateway
from .wsgi import Site

__all__ = ["Initiation", "Intake", "Ours", "QueuedIntake", "Shop", "Status", "Whole", "pending_row"]

Calls = Sequence[Callable[[], None]]
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Shop:
    """A shop with one gateway, and Valkey for the live status."""

    with_celery: ClassVar[bool] = False

    def set_up(self) -> None:
        """Settings and tables."""
        layer = {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [os.environ["GATEWAYPAY_BENCH_REDIS"]]},
        }
        apps = ["rest_framework", "channels", "django_gatewaypay", "tests.shop"]
        configure(apps, "tests.benchmarks.sides.urls", GATEWAYPAY=self._wanted(), CHANNEL_LAYERS={"default": layer})
        self.site = Site()
        #: Who shares the tables counts their own rows.
        self.prefix = uuid.uuid4().hex[:12]

    def gateway_url(self) -> str:
        """Where the gateway is; nobody calls it, unless a bench says so."""
        return "http://127.0.0.1:9/"

    def _wanted(self) -> dict[str, Any]:
        return {
            "BASE_URL": "https://shop.example",
            "ORDERS": "tests.shop.ShopOrders",
            "USE_CELERY": self.with_celery,
            "GATEWAYS": {
                "hosted": {
                    "BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway",
                    "OPTIONS": {"api_base": self.gateway_url(), "webhook_secrets": [SECRET]},
                }
            },
        }

    def orders(self, count: int) -> list[Any]:
        """So many orders over 19.99 EUR."""
        from tests.shop.models import Order

        return Order.objects.bulk_create(Order(email=self.prefix) for _ in range(count))

    def pending(self, count: int) -> list[Any]:
        """So many payments whose shoppers are at the gateway, as initiation leaves them."""
        from django_gatewaypay.models import Transaction, TransactionEvent

        rows = Transaction.objects.bulk_create(pending_row(order) for order in self.orders(count))
        TransactionEvent.objects.bulk_create(line for row in rows for line in opening_lines(row))
        return list(rows)


class Ours(Shop, Side):
    """Calls of this package."""

    database: ClassVar[str] = "ours"
    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "djangorestframework", "channels-redis")


def pending_row(order: Any) -> Any:
    """A payment that has its session."""
    from django.utils import timezone

    from django_gatewaypay.models import Transaction
    from django_gatewaypay.services import access

    now, pk = timezone.now(), uuid.uuid4()
    return Transaction(
        id=pk,
        order_id=str(order.pk),
        gateway="hosted",
        amount_minor=order.price_minor,
        currency=order.currency,
        state="pending",
        version=1,
        gateway_reference=f"ps_{pk.hex}",
        next_action={"kind": "redirect", "url": f"http://127.0.0.1:9/pay/ps_{pk.hex}"},
        token_hash=access.hash_token(access.mint_token(pk)),
        owner_key=access.GUEST,
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(minutes=30),
        next_poll_at=now + timedelta(minutes=15),
    )


def opening_lines(row: Any) -> list[Any]:
    """What the ledger says of it."""
    from django_gatewaypay.models import TransactionEvent

    known = {"transaction": row, "kind": "moved", "source": "initiate", "created_at": row.created_at}
    return [
        TransactionEvent(version=0, to_state="created", **known),
        TransactionEvent(version=1, from_state="created", to_state="pending", **known),
    ]


class Whole(Ours):
    """A callback from the signature to the fulfilled order and the announcement, in the request itself."""

    repeated: ClassVar[bool] = True

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [self._told(row) for row in self.pending(count)]

    def done(self) -> int:
        """See `Side`."""
        from tests.shop.models import Order

        return Order.objects.filter(email=self.prefix, paid=True, fulfilments=1).count()

    def _told(self, row: Any) -> Callable[[], None]:
        from django_gatewaypay.testing.gateway_server import sign

        event_id = f"{self.prefix}_{uuid.uuid4().hex}"
        said = {"event_id": event_id, "reference": row.gateway_reference, "status": "success"}
        body = json.dumps(said | {"transaction_id": str(row.pk), "amount": "19.99", "currency": "EUR"}).encode()
        headers = sign(SECRET, event_id, body)
        del headers["content-type"]
        return self.site.post("/payments/callbacks/hosted/", headers, body)


class Intake(Whole):
    """A callback up to its 200, where a worker does the rest: the task is handed to nobody here."""

    with_celery: ClassVar[bool] = True

    def set_up(self) -> None:
        """See `Side`."""
        from celery import Celery

        Celery("bench", broker=self.broker(), task_cls=self.task_class()).set_default()
        super().set_up()

    def broker(self) -> str:
        """Where tasks go."""
        return "memory://"

    def task_class(self) -> Any:
        """Tasks that nobody hears of: what is left is ours."""
        from celery import Task

        class Unsent(Task):  # type: ignore[type-arg]  # it takes none when it runs
            """Celery's own part of sending is left out."""

            def apply_async(self, *args: Any, **kwargs: Any) -> Any:
                return None

        return Unsent

    def done(self) -> int:
        """See `Side`."""
        from django_gatewaypay.models import Callback

        return Callback.objects.filter(event_id__startswith=self.prefix, state="received").count()


class QueuedIntake(Intake):
    """The same with what Celery takes to send the task to Valkey."""

    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "celery", "kombu")

    def broker(self) -> str:
        """See `Intake`."""
        return os.environ["GATEWAYPAY_BENCH_REDIS"]

    def task_class(self) -> Any:
        """Tasks as Celery has them."""
        from celery import Task

        return Task

    def counts(self) -> dict[str, int]:
        """How many tasks arrived; the queue is emptied."""
        import redis

        with redis.Redis.from_url(self.broker()) as client:
            sent = client.llen("celery")
            client.delete("celery")
        return {"tasks": int(sent)}


class Status(Ours):
    """The owner's status, by the token."""

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [self._asked(row) for row in self.pending(count)]

    def _asked(self, row: Any) -> Callable[[], None]:
        from django_gatewaypay.services import access

        return self.site.get(f"/payments/status/{row.pk}/", {"Authorization": f"Bearer {access.mint_token(row.pk)}"})


class Initiation(Ours):
    """A payment is started over JSON, and its session opened at the gateway."""

    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "djangorestframework", "requests")

    def gateway_url(self) -> str:
        """See `Shop`."""
        self.gateway = Gateway()
        return self.gateway.url

    def calls(self, count: int) -> Calls:
        """See `Side`."""
        return [
            self.site.post("/payments/initiate/", {}, json.dumps({"order_id": str(order.pk)}).encode(), status=201)
            for order in self.orders(count)
        ]

    def done(self) -> int:
        """See `Side`."""
        from django_gatewaypay.models import Transaction
        from tests.shop.models import Order

        ours = [str(pk) for pk in Order.objects.filter(email=self.prefix).values_list("pk", flat=True)]
        return Transaction.objects.filter(order_id__in=ours, state="pending").exclude(gateway_reference="").count()

    def counts(self) -> dict[str, int]:
        """See `Side`."""
        return {"connections": self.gateway.connections()}
