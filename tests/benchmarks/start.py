"""A host that starts, in a fresh process: `python -m tests.benchmarks.start KIND`; what that took, as JSON.

KIND has words: "app" for one that has installed this package and mounted it, "used" for one whose own views and
sockets use Django REST framework and Channels.
"""

import json
import sys
import time
from pathlib import Path

__all__ = ["main"]

APPS = ("django.contrib.contenttypes", "django.contrib.auth", "rest_framework", "channels")
OURS = ("django_gatewaypay.urls", "django_gatewaypay.routing")
USED = ("rest_framework.views", "rest_framework.serializers", "channels.auth", "channels.generic.websocket")
NOWHERE = {"ENGINE": "django.db.backends.postgresql", "NAME": "none", "HOST": "127.0.0.1", "PORT": "9"}
GATEWAYS = {
    "hosted": {
        "BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway",
        "OPTIONS": {"api_base": "https://gateway.example/", "webhook_secrets": ["whsec_" + "a" * 44]},
    }
}


def main() -> None:
    words = sys.argv[1].split("-")
    opened = start("app" in words, ["django.views.generic", "channels.routing", *(USED if "used" in words else ())])
    print(json.dumps({"cpu": time.process_time(), "memory": memory(), "opened": opened}))


def start(installed: bool, imported: list[str]) -> int:
    """Settings, `django.setup()`, and the modules of a host; how often a connection to the database was wanted."""
    import importlib

    from django.conf import settings

    settings.configure(
        SECRET_KEY="a constant for benchmarks, known to everybody",
        INSTALLED_APPS=[*APPS, *(["django_gatewaypay"] if installed else [])],
        DATABASES={"default": NOWHERE},
        GATEWAYPAY={"BASE_URL": "https://shop.example", "ORDERS": "tests.shop.ShopOrders", "GATEWAYS": GATEWAYS},
    )
    import django
    from django.db.backends.base.base import BaseDatabaseWrapper

    wanted = 0
    connect = BaseDatabaseWrapper.connect

    def counted(self: BaseDatabaseWrapper) -> None:
        nonlocal wanted
        wanted += 1
        connect(self)

    BaseDatabaseWrapper.connect = counted
    django.setup()
    for name in [*imported, *(OURS if installed else ())]:
        importlib.import_module(name)
    return wanted


def memory() -> int:
    """The most bytes of memory that this process had.

    On Linux `getrusage` says no less than what its parent had when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
