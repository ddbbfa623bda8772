"""One run of the chaos in a process of its own: `python -m tests.proof.chaos.play FOLDER < chunk.json`.

It prints `share 0.5` lines and at last `result {...}`. Its input has to stay open: when it ends, the run ends.
"""

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...plant.apart import obey
from ...plant.processes import Plant, Service
from ...plant.shop import CELERY, answers, environment, open_web, set_up_django
from ...plant.stores import Postgres, Valkey, wait_until
from .desk import Desk, hire

__all__ = ["play"]

SETTLED_WITHIN = 300
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
        set_up_django(self.environment())  # by no proxy: our own eyes are not part of the chaos
        hire()
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

    def environment(self, **ports: int) -> dict[str, str]:
        """What a process has to know; with ports, everything is reached through the proxies."""
        valkey = f"redis://127.0.0.1:{ports.get('broker', self.valkey.port)}/0"
        return environment(
            shop_url=self.url,
            clock=self.work["clock"],
            health_checks=1,  # the database is going to be killed
            beat=1,
            acks=self.work["acks"],
            poll_after=5,
            expire_after=self.work["expire_after"],
            database_host="127.0.0.1" if ports else self.postgres.folder,
            database_port=ports.get("database", 5432),
            redis_urls=valkey,
            broker_url=valkey,
            gateway_url=f"http://127.0.0.1:{ports.get('gateway', 9)}/",
        )

    def surround(self) -> None:
        """The gateway, and the lines that can be broken."""
        from django.conf import settings

        from ...plant.courier import Courier
        from .gateway import ChaosGateway
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
        for name in ("web1", "web2"):
            open_web(self.plant, name, self.listener)
        for name, words in CLOCKS[self.work["clock"]].items():
            command = [sys.executable, *(word.format(scratch=self.plant.scratch) for word in words)]
            self.plant.add(Service(name, command, environment={"PLANT_CONN_MAX_AGE": "60"}))
        wait_until(lambda: answers(self.url), "the shop")

    def let_them_in(self) -> None:
        """Until every shopper has gone and all of the mischief is done."""
        from tests.shop.models import Order

        from .mischief import Mischief, schedule
        from .shoppers import Crowd

        work, seed = self.work, self.work["seed"]
        orders = [order.pk for order in Order.objects.bulk_create(Order() for _ in range(work["payments"]))]
        manner = {name: work[name] for name in ("threads", "patience")}
        self.crowd = Crowd(self.url, orders, self.gateway, self.courier, self.desk, seed=seed, **manner)
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


def deliver_decisions(gateway: Any, courier: Any) -> None:
    """What the banks decide about refunds reaches the shop."""
    for word in gateway.decide_refunds():
        courier.post(word)


def await_peace(gateway: Any, courier: Any, desk: Any, ended_at: float) -> float:
    """Until nothing is on its way any more and all money is seen, or for as long as the bar allows; when that was."""
    from django.db import close_old_connections

    from ...plant.verdict import stuck, unseen

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

    from ...plant.verdict import EXAMPLES, judge

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
    obey(play)
