"""One sale in a process of its own, which is its gateway: `python -m tests.benchmarks.sale.play FOLDER < work.json`."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ...plant.apart import obey
from ...plant.processes import Plant, Service
from ...plant.shop import CELERY, answers, environment, open_web, set_up_django
from ...plant.stores import Postgres, RabbitMq, Valkey, wait_until
from .eyes import Look, judged, live_seconds, look, queue_seconds, span
from .gateway import TELLINGS, NotingCourier, SaleGateway

__all__ = ["play"]

SETTLED_WITHIN = 300
#: Of each web process; also the most connections to the database that it has.
THREADS = 32


def play(work: Mapping[str, Any], logs: Path) -> dict[str, Any]:
    """From an empty folder to the verdict; see `run.shape`."""
    with ExitStack() as stack:
        return House(work, logs, stack).run()


class House:
    """The whole shop, each web process a node with an address of its own, and the gateway."""

    def __init__(self, work: Mapping[str, Any], logs: Path, stack: ExitStack) -> None:
        self.work, self.stack = work, stack
        self.plant = stack.enter_context(Plant(logs))
        self.postgres = Postgres(self.plant, fsync=True)
        self.valkeys = [Valkey(self.plant, f"valkey{number}") for number in range(work["valkeys"])]
        self.broker = RabbitMq(self.plant) if work["broker"] == "RabbitMQ" else self.valkeys[0]
        self.nodes = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2048)) for _ in range(work["webs"])
        ]
        self.urls = [f"http://127.0.0.1:{node.getsockname()[1]}" for node in self.nodes]

    def run(self) -> dict[str, Any]:
        """Open, warm up, look at the shop without shoppers, sell, wait until all is settled, judge."""
        set_up_django(self.environment("http://127.0.0.1:9/"))
        self.surround()
        self.open_shop()
        self.warm_up()
        return {**self.work, "idle": self.idle(), **self.sale()}

    def idle(self) -> dict[str, float]:
        """CPU seconds in a second in which nobody comes."""
        before = self.look()
        time.sleep(self.work["rest"])
        spent = self.look().since(before)["cpu"]
        return {name: round(seconds / self.work["rest"], 4) for name, seconds in spent.items()}

    def sale(self) -> dict[str, Any]:
        """What counts."""
        sent, said = len(self.gateway.courier.seconds), self.gateway.told.copy()
        before = self.look()
        seen = self.sell(self.work["payments"], self.work["seconds"], abandons=self.work["abandons"])
        self.await_peace()
        spent = self.look().since(before)
        spent["cpu"]["shoppers"] = round(seen["cpu"], 3)
        return {
            **spent,
            "seconds_to_settle": round(time.monotonic() - self.opened - self.work["seconds"], 1),
            "in_time": seen["in_time"],
            "started": len(seen["seconds"]["start"]),
            "gateway": dict(sorted((self.gateway.told - said).items())),
            **self.told(seen, sent),
            **judged(self.gateway, seen),
        }

    def environment(self, gateway: str) -> dict[str, str]:
        """What a process has to know."""
        return environment(
            shop_url=self.urls[0],
            clock="celery",
            beat=self.work["beat"],
            poll_after=self.work["poll_after"],
            expire_after=self.work["expire_after"],
            database_host=self.postgres.folder,
            database_port=5432,
            redis_urls=" ".join(valkey.url for valkey in self.valkeys),
            broker_url=self.broker.url,
            gateway_url=gateway,
        )

    def surround(self) -> None:
        """The gateway, and who tells for it."""
        from django.conf import settings

        made = SaleGateway(settings.HOSTED_SECRET, seed=self.work["seed"], latest=self.work["latest"])
        callbacks = [f"{url}/payments/callbacks/hosted/" for url in self.urls]
        made.courier = self.stack.enter_context(NotingCourier(callbacks, made.secret))
        self.gateway = self.stack.enter_context(made)
        self.plant.environment = self.environment(made.url)

    def open_shop(self) -> None:
        """The nodes, the workers and one beat."""
        for number, node in enumerate(self.nodes, start=1):
            open_web(self.plant, f"web{number}", node, threads=THREADS)
        for number in range(1, self.work["workers"] + 1):
            self.clock(f"worker{number}", "worker", "-n", f"{number}@sale", "-c", "2", "--loglevel", "WARNING")
        self.clock("beat", "beat", "--pidfile", "", "-s", f"{self.plant.scratch}/beat")
        for url in self.urls:
            wait_until(lambda url=url: answers(url), "the shop")
        wait_until(self.workers_answer, "the workers")

    def clock(self, name: str, *words: str) -> None:
        """A process of Celery's; it keeps its connections, as its threads stay."""
        command = [sys.executable, *CELERY, *words]
        self.plant.add(Service(name, command, environment={"PLANT_CONN_MAX_AGE": "60"}))

    def workers_answer(self) -> bool:
        from ...plant.worker import app

        return len(app.control.ping(timeout=1, limit=self.work["workers"])) == self.work["workers"]

    def warm_up(self) -> None:
        """Some payments that do not count, and that nobody has to wait for."""
        self.gateway.tellings = {"prompt": 1}
        self.sell(self.work["warm"], self.work["warm"] / 10, abandons=False)
        self.gateway.tellings = TELLINGS
        self.await_peace()

    def sell(self, count: int, seconds: float, *, abandons: bool) -> dict[str, Any]:
        """So many shoppers come, one after the other; what they have seen."""
        from tests.shop.models import Order

        orders = [order.pk for order in Order.objects.bulk_create(Order() for _ in range(count))]
        known = {"urls": self.urls, "orders": orders, "seconds": seconds}
        wanted = {**known, "seed": f"{self.work['seed']}-{count}", "abandons": abandons}
        command = (sys.executable, "-m", "tests.benchmarks.sale.crowd")
        with (self.plant.logs / "crowd.log").open("ab") as log:
            self.opened = time.monotonic()
            process = self.plant.run(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
            said, _ = process.communicate(json.dumps(wanted).encode() + b"\n")
        return dict(json.loads(said))

    def await_peace(self) -> None:
        """Until nothing is on its way any more and all money is seen, or for as long as is bearable."""
        from ...plant.verdict import stuck, unseen

        end = time.monotonic() + SETTLED_WITHIN
        while time.monotonic() < end:
            if not self.gateway.courier.waiting and not stuck() and not unseen(self.gateway.sessions):
                return
            time.sleep(0.5)

    def look(self) -> Look:
        return look(self.plant, self.valkeys)

    def told(self, seen: Mapping[str, Any], sent: int) -> dict[str, Any]:
        """How long everything took, and who heard what."""
        courier, heard = self.gateway.courier, seen["heard"]
        seconds = {
            **seen["seconds"],
            "callback": courier.seconds[sent:],
            "queue": queue_seconds(self.opened),
            "live": live_seconds(self.gateway, heard),
        }
        across = len(live_seconds(self.gateway, heard, across=True))
        return {
            "spans": {name: span(known) for name, known in seconds.items()},
            "sockets": {"heard": len(heard), "deaf": len(seen["deaf"]), "across": across},
            "answers": {**dict(sorted(seen["answers"].items())), **callback_answers(courier)},
            "died": dict(self.plant.died),
        }


def callback_answers(courier: NotingCourier) -> dict[str, int]:
    """Of the whole run: they are few that are not 200."""
    return {f"callback {answer}": count for answer, count in sorted(courier.answers.items())}


if __name__ == "__main__":
    obey(play)
