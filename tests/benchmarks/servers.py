"""PostgreSQL, Valkey, and an empty database for each who asks for one."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from ..embedded import postgres_url, redis_url

__all__ = ["databases", "versions"]

PREFIX = "gatewaypay_bench_"


@contextmanager
def databases(names: Iterable[str], template: str = "") -> Iterator[Mapping[str, str]]:
    """An empty database for each name, by its address; gone afterwards.

    Args:
        template: a name whose database is copied instead; nobody may be connected to it.
    """
    import psycopg
    from psycopg.sql import SQL, Identifier

    wanted = sorted(set(names))
    source = SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(Identifier(PREFIX + template)) if template else SQL("")
    with psycopg.connect(postgres_url(), autocommit=True) as server:
        try:
            for name in wanted:
                server.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(PREFIX + name)))
                server.execute(SQL("CREATE DATABASE {}{}").format(Identifier(PREFIX + name), source))
            yield {name: address(name) for name in wanted}
        finally:
            for name in wanted:
                server.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(PREFIX + name)))


def address(name: str) -> str:
    return urlsplit(postgres_url())._replace(path=f"/{PREFIX}{name}").geturl()


def versions() -> dict[str, str]:
    """What the servers call themselves."""
    import psycopg
    import redis

    with psycopg.connect(postgres_url()) as server:
        postgres = server.info.parameter_status("server_version") or ""
    with redis.Redis.from_url(redis_url()) as client:
        told = client.info("server")
    valkey = told.get("valkey_version") or told["redis_version"]
    return {"PostgreSQL": postgres.split()[0], "Valkey" if "valkey_version" in told else "Redis": valkey}
