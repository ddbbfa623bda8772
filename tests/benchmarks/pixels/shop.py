"""Its processes: the web's application, the worker's Celery, and whoever makes its tables and orders."""

import json
import sys
from typing import Any

from celery import Celery

__all__ = ["app", "application", "main"]

app = Celery("pixels")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def application() -> Any:
    """The suite's own, over HTTP and WebSocket."""
    from tests.asgi import application as shop

    return shop


def main() -> None:
    """Make the tables and so many orders, and print their numbers."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from tests.shop.models import Order

    orders = Order.objects.bulk_create(Order() for _ in range(int(sys.argv[1])))
    print(json.dumps([str(order.pk) for order in orders]))


if __name__ == "__main__":
    main()
