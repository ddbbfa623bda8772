"""Plays a sale; what is asked for is told by its shape."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

from ...plant.apart import run_apart
from ...proof.frame import REPOSITORY, machine

__all__ = ["run_sale", "shape"]

LOGS = REPOSITORY / ".bench" / "sale"


def shape(payments: int, seconds: float, **more: Any) -> dict[str, Any]:
    """A sale of so many payments in so many seconds; two web nodes, two workers, one Valkey.

    Args:
        more: `webs`, `workers`, `valkeys`; `broker`, "Valkey" or "RabbitMQ"; `warm`, payments before it counts;
            `rest`, seconds of idleness; `beat`, seconds between two rounds of the clock, "" for its own;
            `poll_after`, `expire_after` and `latest`, seconds; `abandons`, whether some shoppers never pay.
    """
    return {
        "payments": payments,
        "seconds": seconds,
        "seed": 2026,
        "webs": 2,
        "workers": 2,
        "valkeys": 1,
        "broker": "Valkey",
        "warm": 60,
        "rest": 5,
        "beat": "",
        "poll_after": 15,
        "expire_after": 60,
        "latest": 15,
        "abandons": True,
        **more,
    }


def run_sale(work: Mapping[str, Any]) -> dict[str, Any]:
    """What came out; the logs stay when something is wrong.

    Raises:
        RuntimeError: the sale came to no end.
    """
    logs = LOGS / time.strftime("%Y%m%d-%H%M%S")
    logs.mkdir(parents=True)
    print(f"a sale of {work['payments']} payments in {work['seconds']} s", file=sys.stderr, flush=True)
    result = run_apart("tests.benchmarks.sale.play", work, logs, lambda share: None)
    if result is None:
        raise RuntimeError(f"The sale came to no end; the logs are in {logs.relative_to(REPOSITORY)}.")
    if not result["examples"]:
        shutil.rmtree(logs)
    return {**result, "cores": machine()["cores"]}
