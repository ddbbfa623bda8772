"""dj-stripe, over its own webhook view; it asks Stripe about every object that an event names."""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from typing import ClassVar

from ..side import Side, configure
from .gateway import Gateway
from .stripe_sessions import paid_session, signed
from .wsgi import Site

__all__ = ["DjStripe"]

SECRET = "whsec_bench"
TEST_KEY = f"sk_test_{'a' * 24}"
HOOK = uuid.UUID("5f3c1d5e-0000-4000-8000-000000000001")


class DjStripe(Side):
    """A paid checkout session, whole path: the event is kept, and the session as Stripe has it."""

    repeated: ClassVar[bool] = True
    database: ClassVar[str] = "djstripe"
    packages: ClassVar[Sequence[str]] = ("Django", "psycopg", "dj-stripe", "stripe")

    def set_up(self) -> None:
        """See `Side`."""
        configure(
            ["django.contrib.sessions", "django.contrib.messages", "django.contrib.admin", "djstripe"],
            "tests.benchmarks.sides.djstripe_urls",
            STRIPE_LIVE_MODE=False,
            STRIPE_TEST_SECRET_KEY=TEST_KEY,
            DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
        )
        import stripe

        self.gateway = Gateway("tests.benchmarks.sides.stripe_sessions")
        stripe.api_base = self.gateway.url
        self._introduce()
        self.site = Site()
        #: Who shares the tables counts their own rows.
        self.prefix = uuid.uuid4().hex[:12]

    def _introduce(self) -> None:
        """The account, its key and the address of the callbacks, which dj-stripe keeps as rows."""
        from djstripe.models import Account, APIKey, WebhookEndpoint

        told = {"livemode": False, "stripe_data": {"id": "acct_1", "object": "account"}}
        account, _ = Account.objects.get_or_create(id="acct_1", defaults=told)
        key = {"id": "key_1", "type": "secret", "livemode": False, "djstripe_owner_account": account}
        APIKey.objects.get_or_create(secret=TEST_KEY, defaults=key)
        endpoint = {"djstripe_uuid": HOOK, "secret": SECRET, "url": "https://shop.example/", "enabled_events": ["*"]}
        endpoint |= {"status": "enabled", "livemode": False, "djstripe_validation_method": "verify_signature"}
        WebhookEndpoint.objects.get_or_create(id="we_1", defaults=endpoint)

    def calls(self, count: int) -> Sequence[Callable[[], None]]:
        """See `Side`."""
        from djstripe.models import Session

        references = [f"cs_{self.prefix}_{uuid.uuid4().hex}" for _ in range(count)]
        Session.objects.bulk_create(
            Session(id=one, livemode=False, stripe_data=paid_session(one) | {"status": "open"}) for one in references
        )
        return [self._told(one) for one in references]

    def done(self) -> int:
        """See `Side`."""
        from djstripe.models import Session

        known = Session.objects.filter(id__startswith=f"cs_{self.prefix}_")
        return known.filter(stripe_data__status="complete").count()

    def _told(self, reference: str) -> Callable[[], None]:
        sent = int(time.time())
        event = {"id": f"evt_{reference}", "object": "event", "api_version": "2024-06-20", "livemode": False}
        event |= {"created": sent, "type": "checkout.session.completed", "pending_webhooks": 0}
        event |= {"request": {"id": None, "idempotency_key": None}, "data": {"object": paid_session(reference)}}
        body = json.dumps(event).encode()
        return self.site.post(f"/stripe/webhook/{HOOK}/", signed(SECRET, body, sent), body)
