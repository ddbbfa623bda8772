"""The worlds in which faults happen, one gateway each."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.invariants import check_books, check_inbox

from .plays import PLAYS
from .world import ALIAS, World

FAULT = re.compile(r"test_fault_(\d\d)_")
SAMPLE, ALL = "GATEWAYPAY_FAULTS_SAMPLE", "GATEWAYPAY_FAULTS_ALL"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For the quick proof: the first test of each fault, and no other.

    In the suite, SQLite meets the vendors where the sandbox cannot stand for them; PostgreSQL and the full
    proof meet them always. A tracer sees nothing here that the rooms' own tests do not show it.
    """
    for item in items:
        if FAULT.match(item.name):
            item.add_marker(pytest.mark.no_cover)
    if not os.environ.get(SAMPLE):
        if connection.vendor == "sqlite" and not os.environ.get(ALL):
            leave_out_vendors(config, items)
        return
    first: dict[str, pytest.Item] = {}
    for item in items:
        found = FAULT.match(item.name)
        if found and not any(item.get_closest_marker(mark) for mark in ("xfail", "skip", "postgres", "slow")):
            first.setdefault(found[1], item)
    config.hook.pytest_deselected(items=[item for item in items if item not in first.values()])
    items[:] = first.values()


def leave_out_vendors(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What the sandbox tests as well."""
    played = {item: item.callspec.params.get("world") for item in items if hasattr(item, "callspec")}
    by_sandbox = {(item.path, getattr(item, "originalname", "")) for item, name in played.items() if name == "sandbox"}
    vendors = {
        item
        for item, name in played.items()
        if name in {"stripe", "mollie"} and (item.path, getattr(item, "originalname", "")) in by_sandbox
    }
    config.hook.pytest_deselected(items=[item for item in items if item in vendors])
    items[:] = [item for item in items if item not in vendors]


NO_LIMITS = {"initiate": None, "status": None, "page": None}


@pytest.fixture(params=PLAYS)
def world(
    request: pytest.FixtureRequest,
    transactional_db: None,
    patient_nudges: None,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """A shop with each gateway in turn; `only(...)` names some. The books are checked when the test is over."""
    # Retries inside one call to the gateway do not wait.
    monkeypatch.setattr("django_gatewaypay.gateways.http.backoff", lambda *_: 0.0)
    play = PLAYS[request.param]
    with play.bench.server_class() as server:
        account = {"BACKEND": play.backend, "OPTIONS": play.options(server)}
        settings.GATEWAYPAY = {**settings.GATEWAYPAY, "GATEWAYS": {ALIAS: account}, "THROTTLES": NO_LIMITS}
        yield World(request.param, play, server, settings)
        check_books()
        check_inbox()
