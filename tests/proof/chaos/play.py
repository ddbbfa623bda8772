"""One run of the chaos in a process of its own: `python -m tests.proof.chaos.play FOLDER < chunk.json`.

It prints `share 0.5` lines and at last `result {...}`. Its input has to stay open: when it ends, the run ends.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .plant import Plant, Service
from .stores import Postgres, Valkey, wait_until

__all__ = ["main"]

SETTLED_WITHIN = 300
CELERY = ["-m", "celery", "-A", "tests.proof.chaos.worker"]
TICK = ["-m", "django", "gatewaypay_tick", "--loop"]
CLOCKS = {
    "celery": {
        "clock1": [*CELERY, "worker", "-n", "one@chaos", "-c", "2"],
        "clock2": [*CELERY, "worker", "-n", "two@chaos", "-P", "threads", "-c", "4"],
        "beat1": [*CELERY, "beat", "--pidfile", "", "-s", "{scratch}/beat1"],
        "beat2": [*CELERY, "beat", "--pidfile", "", "-s", "{scratch}/beat2"],
    },
    "tick": {"clock1": TICK, "clock2": TICK},
}


def main() -> None:
    work = json.loads(sys.stdin.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(1))  # at once: the warden ends everybody and removes the folder
    threading.Thread(target=end_with_input, daemon=True).start()
    result = play(work, Path(sys.argv[1]))
    print("result " + json.dumps(result), flush=True)


def end_with_input() -> None:
    """Whoever started us is gone."""
    while os.read(0, 1024):  # not by sys.stdin, whose lock this thread would hold at our own end
        pass
    os._exit(1)


def play(work: Mapping[str, Any], logs: Path) -> dict[str, Any]:
    """From an empty folder to the verdict."""
    began = time.monotonic()
    with ExitStack() as stack:
        plant = stack.enter_context(Plant(logs))
        postgres, valkey = Postgres(plant), Valkey(plant)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        base = {
            "DJANGO_SETTINGS_MODULE": "tests.proof.chaos.settings",
            "CHAOS_SHOP_URL": url,
            "CHAOS_CLOCK": work["clock"],
            "CHAOS_ACKS": work["acks"],
            "CHAOS_EXPIRE_AFTER": str(work["expire_after"]),
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
            "GATEWAYPAY_TEST_DB": "sqlite",  # the suite's settings, which ours are made from, start no server
        }
        set_up_django(base, postgres, valkey)
        return act(work, plant, postgres, valkey, listener, base, stack, began)


def set_up_django(base: Mapping[str, str], postgres: Postgres, valkey: Valkey) -> None:
    """This process reads the database directly: its own eyes are not part of the chaos."""
    for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
        os.environ.pop(name, None)
    os.environ.update(base)
    os.environ.update(
        CHAOS_DATABASE_HOST=str(postgres.folder),
        CHAOS_DATABASE_PORT="5432",
        CHAOS_REDIS_URL=f"redis://127.0.0.1:{valkey.port}/0",
        CHAOS_GATEWAY_URL="http://127.0.0.1:9/",
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)


def act(
    work: Mapping[str, Any],
    plant: Plant,
    postgres: Postgres,
    valkey: Valkey,
    listener: socket.socket,
    base: Mapping[str, str],
    stack: ExitStack,
    began: float,
) -> dict[str, Any]:
    """Open the shop, let the crowd and the mischief in, wait for peace, judge."""
    from django.conf import settings

    from tests.shop.models import Order

    from .gateway import ChaosGateway, Courier
    from .mischief import Mischief, Network, schedule
    from .shoppers import Crowd

    orders = [order.pk for order in Order.objects.bulk_create(Order() for _ in range(work["payments"]))]
    gateway = stack.enter_context(ChaosGateway(settings.HOSTED_SECRET))
    network = Network({
        "database": line(plant, postgres.socket),
        "broker": line(plant, f"127.0.0.1:{valkey.port}"),
        "gateway": line(plant, gateway.url.removeprefix("http://").strip("/")),
    })  # fmt: skip
    ports = {name: read_port(process) for name, process in network.lines.items()}
    plant.environment = {
        **base,
        "CHAOS_DATABASE_HOST": "127.0.0.1",
        "CHAOS_DATABASE_PORT": str(ports["database"]),
        "CHAOS_REDIS_URL": f"redis://127.0.0.1:{ports['broker']}/0",
        "CHAOS_GATEWAY_URL": f"http://127.0.0.1:{ports['gateway']}/",
    }
    url = base["CHAOS_SHOP_URL"]
    open_shop(plant, listener, work["clock"])
    wait_until(lambda: answers(url), "the shop")
    courier = stack.enter_context(Courier(f"{url}/payments/callbacks/hosted/", gateway.secret))
    kinds = schedule(work["seed"], work["mischiefs"], clock=work["clock"])
    opened = time.monotonic()
    with (
        Crowd(url, orders, gateway, courier, seed=work["seed"], threads=work["threads"]) as crowd,
        Mischief(
            kinds, seed=work["seed"], plant=plant, valkey=valkey, network=network, gateway=gateway, crowd=crowd
        ) as mischief,
    ):
        while crowd.busy or mischief.busy:
            time.sleep(0.5)
            print(f"share {0.8 * crowd.finished / len(orders):.4f}", flush=True)
    closed = time.monotonic()
    settled = await_peace(gateway, courier, mischief.ended_at)
    return {
        "seed": work["seed"],
        "clock": work["clock"],
        "acks": work["acks"],
        **tell(gateway, courier, crowd, mischief, plant),
        "seconds_setup": round(opened - began, 1),
        "seconds_shopping": round(closed - opened, 1),
        "seconds_to_settle": round(settled - mischief.ended_at, 1),
    }


def line(plant: Plant, target: str) -> Any:
    import subprocess

    return plant.run(
        sys.executable, "-m", "tests.proof.chaos.proxy", target, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def read_port(process: Any) -> int:
    return int(process.stdout.readline())


def open_shop(plant: Plant, listener: socket.socket, clock: str) -> None:
    """Two web processes on one socket, and the clock."""
    fd = listener.fileno()
    for name in ("web1", "web2"):
        plant.add(Service(name, [sys.executable, "-m", "tests.proof.chaos.serve", str(fd)], pass_fds=[fd]))
    for name, words in CLOCKS[clock].items():
        command = [sys.executable, *(word.format(scratch=plant.scratch) for word in words)]
        plant.add(Service(name, command, environment={"CHAOS_CONN_MAX_AGE": "60"}))


def answers(url: str) -> bool:
    import urllib3

    try:
        return urllib3.request("GET", f"{url}/payments/gateways/", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def await_peace(gateway: Any, courier: Any, ended_at: float) -> float:
    """Until nothing is on its way any more and all money is seen, or for as long as the bar allows; when that was."""
    from django.db import close_old_connections

    from .verdict import stuck, unseen

    while time.monotonic() < ended_at + SETTLED_WITHIN:
        close_old_connections()
        if not courier.waiting and not stuck() and not unseen(gateway.sessions):
            break
        time.sleep(1)
    return time.monotonic()


def tell(gateway: Any, courier: Any, crowd: Any, mischief: Any, plant: Plant) -> dict[str, Any]:
    """The counts and the verdict."""
    from django_gatewaypay.models import Callback, Transaction

    from .verdict import EXAMPLES, judge

    rows = Transaction.objects.values_list("state", "attention")
    wrong = judge(gateway, courier.acknowledged, crowd.told, crowd.odd)
    return {
        "payments": Transaction.objects.count(),
        "states": dict(Counter(f"{state} {attention}".strip() for state, attention in rows)),
        "captured": sum(session["status"] == "success" for session in gateway.sessions.values()),
        "callbacks": Callback.objects.count(),
        "acknowledged": len(courier.acknowledged),
        "callback_answers": dict(courier.answers),
        "shopper_answers": dict(sorted(crowd.answers.items())),
        "gave_up": crowd.gave_up,
        "kills": mischief.kills,
        "mischief": dict(sorted(mischief.done.items())),
        "mischief_missed": dict(mischief.missed),
        "starts": dict(plant.starts),
        "died_by_themselves": dict(plant.died),
        "wrong": {kind: len(found) for kind, found in wrong.items()},
        "examples": {kind: found[:EXAMPLES] for kind, found in wrong.items() if found},
    }


if __name__ == "__main__":
    main()
