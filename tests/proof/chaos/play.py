"""One run of the chaos in a process of its own: `python -m tests.proof.chaos.play FOLDER < chunk.json`.

It prints `share 0.5` lines and at last `result {...}`. Its input has to stay open: when it ends, the run ends.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .desk import Desk, hire
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
    with ExitStack() as stack:
        return House(work, logs, stack).run()


class House:
    """The whole shop for one run, with what surrounds it."""

    def __init__(self, work: Mapping[str, Any], logs: Path, stack: ExitStack) -> None:
        self.work, self.stack, self.began = work, stack, time.monotonic()
        self.plant = stack.enter_context(Plant(logs))
        self.postgres, self.valkey = Postgres(self.plant), Valkey(self.plant)
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self) -> dict[str, Any]:
        """Open the shop, let the crowd and the mischief in, wait for peace, judge."""
        self.set_up_django()
        self.surround()
        self.open_shop()
        self.let_them_in()
        settled = await_peace(self.gateway, self.courier, self.desk, self.mischief.ended_at)
        return {
            **{name: self.work[name] for name in ("seed", "clock", "acks")},
            **tell(self.gateway, self.courier, self.crowd, self.desk, self.mischief, self.plant),
            "seconds_setup": round(self.opened - self.began, 1),
            "seconds_shopping": round(self.closed - self.opened, 1),
            "seconds_to_settle": round(settled - self.mischief.ended_at, 1),
        }

    def set_up_django(self) -> None:
        """This process reads the database directly: its own eyes are not part of the chaos."""
        for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST"):
            os.environ.pop(name, None)
        os.environ.update(self.environment())
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", run_syncdb=True, verbosity=0)
        hire()

    def environment(self, **ports: int) -> dict[str, str]:
        """What a process has to know; with ports, everything is reached through the proxies."""
        broker = ports.get("broker", self.valkey.port)
        return {
            "DJANGO_SETTINGS_MODULE": "tests.proof.chaos.settings",
            "GATEWAYPAY_TEST_DB": "sqlite",  # the suite's settings, which ours are made from, start no server
            "PYTHONUNBUFFERED": "1",
            "C_FORCE_ROOT": "1",
            "CHAOS_SHOP_URL": self.url,
            "CHAOS_CLOCK": self.work["clock"],
            "CHAOS_ACKS": self.work["acks"],
            "CHAOS_EXPIRE_AFTER": str(self.work["expire_after"]),
            "CHAOS_DATABASE_HOST": "127.0.0.1" if ports else str(self.postgres.folder),
            "CHAOS_DATABASE_PORT": str(ports.get("database", 5432)),
            "CHAOS_REDIS_URL": f"redis://127.0.0.1:{broker}/0",
            "CHAOS_GATEWAY_URL": f"http://127.0.0.1:{ports.get('gateway', 9)}/",
        }

    def surround(self) -> None:
        """The gateway, and the lines that can be broken."""
        from django.conf import settings

        from .gateway import ChaosGateway, Courier
        from .mischief import Network

        self.gateway = self.stack.enter_context(ChaosGateway(settings.HOSTED_SECRET))
        targets = {
            "database": self.postgres.socket,
            "broker": f"127.0.0.1:{self.valkey.port}",
            "gateway": self.gateway.url.removeprefix("http://").strip("/"),
        }
        self.network = Network({name: self.draw_line(target) for name, target in targets.items()})
        ports = {name: int(process.stdout.readline()) for name, process in self.network.lines.items()}  # type: ignore[union-attr]
        self.plant.environment = self.environment(**ports)
        callbacks = f"{self.url}/payments/callbacks/hosted/"
        self.courier = self.stack.enter_context(Courier(callbacks, self.gateway.secret))
        self.desk = self.stack.enter_context(Desk(self.url))

    def draw_line(self, target: str) -> "subprocess.Popen[bytes]":
        command = (sys.executable, "-m", "tests.proof.chaos.proxy", target)
        return self.plant.run(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def open_shop(self) -> None:
        """Two web processes on one socket, and the clock."""
        fd = self.listener.fileno()
        for name in ("web1", "web2"):
            self.plant.add(Service(name, [sys.executable, "-m", "tests.proof.chaos.serve", str(fd)], pass_fds=[fd]))
        for name, words in CLOCKS[self.work["clock"]].items():
            command = [sys.executable, *(word.format(scratch=self.plant.scratch) for word in words)]
            self.plant.add(Service(name, command, environment={"CHAOS_CONN_MAX_AGE": "60"}))
        wait_until(lambda: answers(self.url), "the shop")

    def let_them_in(self) -> None:
        """Until every shopper has gone and all of the mischief is done."""
        from tests.shop.models import Order

        from .mischief import Mischief, schedule
        from .shoppers import Crowd

        work, seed = self.work, self.work["seed"]
        orders = [order.pk for order in Order.objects.bulk_create(Order() for _ in range(work["payments"]))]
        self.crowd = Crowd(self.url, orders, self.gateway, self.courier, self.desk, seed=seed, threads=work["threads"])
        self.mischief = Mischief(
            schedule(seed, work["mischiefs"], clock=work["clock"]),
            seed=seed,
            plant=self.plant,
            valkey=self.valkey,
            network=self.network,
            gateway=self.gateway,
            crowd=self.crowd,
        )
        self.opened = time.monotonic()
        with self.crowd, self.mischief:
            while self.crowd.busy or self.mischief.busy:
                time.sleep(0.5)
                deliver_decisions(self.gateway, self.courier)
                print(f"share {0.8 * self.crowd.finished / len(orders):.4f}", flush=True)
        self.closed = time.monotonic()


def answers(url: str) -> bool:
    import urllib3

    try:
        return urllib3.request("GET", f"{url}/payments/gateways/", retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def deliver_decisions(gateway: Any, courier: Any) -> None:
    """What the banks decide about refunds reaches the shop."""
    for word in gateway.decide_refunds():
        courier.post(word)


def await_peace(gateway: Any, courier: Any, desk: Any, ended_at: float) -> float:
    """Until nothing is on its way any more and all money is seen, or for as long as the bar allows; when that was."""
    from django.db import close_old_connections

    from .verdict import stuck, unseen

    while time.monotonic() < ended_at + SETTLED_WITHIN:
        close_old_connections()
        deliver_decisions(gateway, courier)
        on_its_way = desk.busy or courier.waiting or gateway.verdicts
        if not on_its_way and not stuck() and not unseen(gateway.sessions):
            break
        time.sleep(1)
    return time.monotonic()


def tell(gateway: Any, courier: Any, crowd: Any, desk: Any, mischief: Any, plant: Plant) -> dict[str, Any]:
    """The counts and the verdict."""
    from django_gatewaypay.models import Callback, Refund, Transaction

    from .verdict import EXAMPLES, judge

    rows = Transaction.objects.values_list("state", "attention")
    wrong = judge(gateway, courier.acknowledged, crowd.told, [*crowd.odd, *desk.odd])
    return {
        "payments": Transaction.objects.count(),
        "states": dict(Counter(f"{state} {attention}".strip() for state, attention in rows)),
        "captured": sum(session["status"] == "success" for session in gateway.sessions.values()),
        "refunds": dict(Counter(Refund.objects.values_list("state", flat=True))),
        "wished_refunds": len(desk.refunds),
        "callbacks": Callback.objects.count(),
        "acknowledged": len(courier.acknowledged),
        "callback_answers": dict(courier.answers),
        "shopper_answers": dict(sorted(crowd.answers.items())),
        "staff_answers": dict(sorted(desk.answers.items())),
        "gave_up": crowd.gave_up,
        "clerks_gave_up": desk.gave_up,
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
