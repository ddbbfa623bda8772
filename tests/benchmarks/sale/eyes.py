"""What is seen of a sale from outside: CPU time of processes, the servers' own counts, the rows and their times."""

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...plant.cpu import cpu_seconds
from ...plant.processes import Plant
from ...plant.stores import Valkey
from .gateway import SaleGateway

__all__ = ["Look", "judged", "live_seconds", "look", "queue_seconds", "span"]

#: The processes of a group have names that begin like this.
GROUPS = {
    "web": "web", "workers": "worker", "beat": "beat", "PostgreSQL": "postgres", "Valkey": "valkey",
    "RabbitMQ": "rabbitmq",
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What has been spent up to a moment.

    Args:
        at: that moment, by the monotonic clock.
        cpu: seconds, by group of processes.
        transactions: of PostgreSQL, those that only read among them.
        wal: bytes that it has written ahead.
        published: announcements, by Valkey.
    """

    at: float
    cpu: Mapping[str, float]
    transactions: int
    wal: int
    published: Sequence[int]

    def since(self, before: "Look") -> dict[str, Any]:
        """What was spent between the two."""
        return {
            "seconds_measured": round(self.at - before.at, 2),
            "cpu": {name: round(spent - before.cpu[name], 3) for name, spent in self.cpu.items()},
            "transactions": self.transactions - before.transactions,
            "wal": self.wal - before.wal,
            "published": [now - then for now, then in zip(self.published, before.published, strict=True)],
        }


def look(plant: Plant, valkeys: Iterable[Valkey]) -> Look:
    """Now. This process is the gateway."""
    from django.db import connection

    groups = {name: plant.named(prefix) for name, prefix in GROUPS.items()}
    cpu = {name: sum(cpu_seconds(one.pid) for one in services) for name, services in groups.items() if services}
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(xact_commit)::bigint, pg_current_wal_insert_lsn() - '0/0' FROM pg_stat_database")
        transactions, wal = cursor.fetchone()
    published = [published_by(valkey) for valkey in valkeys]
    return Look(time.monotonic(), {**cpu, "gateway": time.process_time()}, int(transactions), int(wal), published)


def published_by(valkey: Valkey) -> int:
    """How many messages a Valkey was given for who listens."""
    import redis

    with redis.Redis(port=valkey.port) as client:
        counted = client.info("commandstats").get("cmdstat_publish", {"calls": 0})
    return int(counted["calls"])


def live_seconds(
    gateway: SaleGateway, heard: Mapping[str, tuple[float, int]], *, across: bool | None = None
) -> list[float]:
    """Seconds from the gateway's word to the socket's.

    Args:
        across: only where the two were at different nodes; only where they were not.
    """
    found = []
    for pk, (moment, node) in heard.items():
        word = gateway.courier.words.get(gateway.ends.get(pk, ""))
        # Who heard before the gateway told has to thank the clock.
        if word and word.at <= moment and across in {None, word.node != node}:
            found.append(moment - word.at)
    return found


def queue_seconds(since: float) -> list[float]:
    """Seconds from taking a callback in to having worked on it, where the first try did it.

    Args:
        since: only of those that came after this moment, by the monotonic clock.
    """
    from datetime import timedelta

    from django.utils import timezone

    from django_gatewaypay.models import Callback

    opened = timezone.now() - timedelta(seconds=time.monotonic() - since)
    rows = Callback.objects.filter(attempts=0, received_at__gte=opened).exclude(processed_at=None)
    return [(done - came).total_seconds() for came, done in rows.values_list("received_at", "processed_at")]


def judged(gateway: SaleGateway, seen: Mapping[str, Any]) -> dict[str, Any]:
    """What both books say, with the warming up."""
    from django_gatewaypay.models import Transaction

    from ...plant.verdict import EXAMPLES, judge

    wrong = judge(gateway, gateway.courier.acknowledged, seen["told"], seen["odd"])
    return {
        "states": dict(Counter(Transaction.objects.values_list("state", flat=True))),
        "captured": sum(session["status"] == "success" for session in gateway.sessions.values()),
        "wrong": {kind: len(found) for kind, found in wrong.items()},
        "examples": {kind: found[:EXAMPLES] for kind, found in wrong.items() if found},
    }


def span(seconds: Sequence[float]) -> dict[str, float]:
    """How many, their middle, the worst of a hundred, and the worst of all; in milliseconds."""
    known = [*seconds, *seconds] or [0.0, 0.0]  # twice, because of one there are no quantiles
    cuts = statistics.quantiles(known, n=100, method="inclusive")
    shown = {"p50": cuts[49], "p99": cuts[98], "max": max(known)}
    return {"count": len(seconds), **{name: round(one * 1000, 1) for name, one in shown.items()}}
