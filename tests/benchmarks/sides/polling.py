"""Ten thousand questions to a gateway on loopback: by the clock of ours, and by threads that do nothing else."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .gateway import Gateway
from .many import DAY, analyze, empty, make
from .ours import Shop

__all__ = ["PAUSE", "Polls"]

#: Seconds that the gateway takes for an answer.
PAUSE = 0.02


class Polls(Shop):
    """Asks a gateway on loopback about many payments, which all are still pending."""

    def gateway_url(self) -> str:
        """See `Shop`."""
        self.gateway = Gateway("tests.benchmarks.sides.slow_gateway", str(PAUSE))
        return self.gateway.url

    def fill(self, count: int) -> None:
        """So many payments that are due, and after that not for half an hour: they have been asked about before."""
        empty()
        make(count, polled=-DAY, expires=DAY, poll_attempts=5)
        analyze()

    def floor(self, threads: int) -> dict[str, float]:
        """The same calls from a pool of threads over one session; nothing is written down."""
        import requests
        from requests.adapters import HTTPAdapter

        from django_gatewaypay.models import Transaction

        references = list(Transaction.objects.values_list("gateway_reference", flat=True))
        with requests.Session() as session, ThreadPoolExecutor(threads) as pool:
            session.trust_env = False
            session.mount("http://", HTTPAdapter(pool_maxsize=threads))

            def ask(reference: str) -> Any:
                return session.get(f"{self.gateway.url}status/{reference}", timeout=10).json()["status"]

            return self._timed(lambda: set(pool.map(ask, references)), len(references))

    def ours(self) -> dict[str, float]:
        """The task of the clock, one after the other as a worker has them, until nobody is due any more."""
        from django.utils import timezone

        from django_gatewaypay.models import Transaction
        from django_gatewaypay.tasks import poll_pending

        def drain() -> None:
            while Transaction.objects.due(timezone.now()).exists():
                poll_pending()

        told = self._timed(drain, Transaction.objects.count())
        if Transaction.objects.exclude(poll_attempts=6, state="pending", claimed_until=None).exists():
            raise RuntimeError("Not everybody was asked about once.")
        return told

    def _timed(self, work: Callable[[], object], calls: int) -> dict[str, float]:
        """Seconds on the wall, and of CPU time, for so many questions.

        Raises:
            RuntimeError: it was another number of them.
        """
        before, began, clock = self.gateway.count("asked"), time.perf_counter(), time.process_time()
        work()
        told = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - clock}
        if self.gateway.count("asked") - before != calls:
            raise RuntimeError(f"{calls} questions were to be asked.")
        return told
