"""A host of its own: settings changed before Django starts, one payment made, and what came of it printed.

python -m tests.views.a_host '{"USE_TZ": false}'
"""

import json
import os
import sys
import types
from typing import Any

MOUNT = "shop/checkout/"


def configure(changes: dict[str, Any]) -> None:
    """The suite's settings, a database in memory, no sandbox, and the changes."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    settings.DATABASES = {"default": database | changes.pop("DATABASE", {})}
    dropped = {"django_gatewaypay.sandbox.apps.SandboxConfig", *changes.pop("WITHOUT", [])}
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app not in dropped] + changes.pop("WITH", [])
    settings.MIDDLEWARE = settings.MIDDLEWARE + changes.pop("MORE_MIDDLEWARE", [])
    settings.CHANNEL_LAYERS = {}
    settings.ROOT_URLCONF = "a_hosts_urls"
    for name, value in changes.items():
        setattr(settings, name, value)


def start(namespace: str | None) -> None:
    """Django, the tables, and our URLs at another place than in the suite."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.urls import include, path

    urls: Any = types.ModuleType("a_hosts_urls")
    urls.urlpatterns = [path(MOUNT, include("django_gatewaypay.urls", namespace=namespace))]
    sys.modules["a_hosts_urls"] = urls
    call_command("check", fail_level="ERROR", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)


def make_user() -> Any:
    from django.contrib.auth import get_user_model

    model = get_user_model()
    return model.objects.create(**{model.USERNAME_FIELD: "ann@example.org"})


def pay() -> dict[str, Any]:
    """One payment from the start to the end, and the statuses on the way."""
    from django.conf import settings
    from django.test import Client

    from django_gatewaypay.models import Callback, Transaction
    from django_gatewaypay.registry import gateways
    from django_gatewaypay.testing.gateway_server import GatewayServer
    from tests.shop.models import Order

    said: dict[str, Any] = {}
    with GatewayServer(secret=settings.HOSTED_SECRET) as gateway:
        settings.GATEWAYPAY["GATEWAYS"]["hosted"]["OPTIONS"]["api_base"] = gateway.url
        gateways.reset()
        client = Client(enforce_csrf_checks=True, headers={"host": "testserver"})
        order = Order.objects.create()
        content = json.dumps({"order_id": str(order.pk)})
        response = client.post(f"/{MOUNT}initiate/", content, content_type="application/json")
        said["initiate"] = [response.status_code, response["Content-Type"]]
        started = response.json()
        ours = started["status_url"].removeprefix("https://shop.example")
        bearer = {"Authorization": f"Bearer {started['token']}"}
        said["cookie"] = client.get(ours).status_code
        said["token"] = Client().get(ours, headers=bearer).status_code
        said["stranger"] = [(answer := Client().get(ours)).status_code, answer["Content-Type"]]
        said["pay"] = client.get(f"/{MOUNT}pay/{started['id']}/").status_code
        [reference] = gateway.sessions
        gateway.pay(reference)
        headers, body = gateway.callback(reference)
        kind = headers.pop("content-type")
        said["callback"] = (
            Client().post(f"/{MOUNT}callbacks/hosted/", body, content_type=kind, headers=headers).status_code
        )
        said["forged"] = Client().post(f"/{MOUNT}callbacks/hosted/", body, content_type=kind).status_code
        said["return"] = 'screen="success"' in client.get(f"/{MOUNT}return/{started['id']}/").text
        said["check"] = started["id"] in client.get(f"/{MOUNT}check/").text
        said["gateways"] = client.get(f"/{MOUNT}gateways/").status_code
        said["state"] = client.get(ours).json()["state"]
        said["declined"] = decline(gateway, client)
        said["user"] = as_user()
    said["rows"] = [Transaction.objects.count(), Callback.objects.count()]
    said["fulfilled"] = Order.objects.get(pk=order.pk).fulfilments
    return said


def decline(gateway: Any, client: Any) -> list[Any]:
    """A refused payment: its row outlives the error."""
    from django_gatewaypay.models import Transaction
    from django_gatewaypay.testing.gateway_server import Answer
    from tests.shop.models import Order

    gateway.script(Answer.error(402))
    content = json.dumps({"order_id": str(Order.objects.create().pk)})
    response = client.post(f"/{MOUNT}initiate/", content, content_type="application/json")
    return [response.status_code, Transaction.objects.get(pk=response.json()["id"]).state]


def as_user() -> list[Any]:
    """A signed-in user owns what he started, where the host has users that can sign in."""
    from django.apps import apps
    from django.test import Client

    from django_gatewaypay.models import Transaction
    from tests.shop.models import Order

    if not apps.is_installed("django.contrib.sessions"):
        return []
    client, user = Client(), make_user()
    client.force_login(user)
    content = json.dumps({"order_id": str(Order.objects.create().pk)})
    started = client.post(f"/{MOUNT}initiate/", content, content_type="application/json").json()
    page = f"/{MOUNT}status/{started['id']}/"
    mine = Transaction.objects.get(pk=started["id"]).user == user
    return [mine, client.get(page).status_code, Client().get(page).status_code]


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    instance = wanted.pop("NAMESPACE", None)
    configure(wanted)
    start(instance)
    print(json.dumps(pay()))  # noqa: T201 - what the test reads
