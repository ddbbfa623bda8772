"""The shop of a plant: what its processes have to know, and its web servers."""

import os
import socket
import sys
from collections.abc import Mapping

from .processes import Plant, Service

__all__ = ["CELERY", "answers", "environment", "open_web", "set_up_django"]

CELERY = ("-m", "celery", "-A", "tests.plant.worker")


def environment(**told: object) -> dict[str, str]:
    """What every process of the shop has to know.

    Args:
        told: what `settings` and `worker` read, without its PLANT_ and in lower case.
    """
    return {
        "DJANGO_SETTINGS_MODULE": "tests.plant.settings",
        "GATEWAYPAY_TEST_DB": "sqlite",  # the suite's settings, which ours are made from, start no server
        "PYTHONUNBUFFERED": "1",
        "C_FORCE_ROOT": "1",
        **{f"PLANT_{name.upper()}": str(value) for name, value in told.items()},
    }


def set_up_django(known: Mapping[str, str]) -> None:
    """This process reads the database too; the tables are made."""
    for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        os.environ.pop(name, None)
    os.environ.update(known)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def open_web(plant: Plant, name: str, listener: socket.socket, *, threads: int = 0) -> Service:
    """A web process on a socket, which other processes may have too.

    Args:
        threads: so many take the requests, and keep their connections to the database; with 0, all is ASGI.
    """
    fd, known = listener.fileno(), {"PLANT_CONN_MAX_AGE": "60" if threads else "0"}
    command = [sys.executable, "-m", "tests.plant.serve", str(fd), str(threads)]
    return plant.add(Service(name, command, environment=known, pass_fds=[fd]))


def answers(url: str) -> bool:
    """Whether a shop is open."""
    import urllib3

    try:
        return urllib3.request("GET", f"{url}/payments/gateways/", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False
