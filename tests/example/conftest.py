"""One running demo for all tests of this folder."""

from collections.abc import Iterator

import pytest

from .running import Demo, Shopper, running_demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo on a port of its own, with its own data. Its beat asks about no payment that a test looks at."""
    with running_demo(tmp_path_factory.mktemp("demo") / "data", GATEWAYPAY_POLL_AFTER="900") as started:
        yield started


@pytest.fixture
def shopper(demo: Demo) -> Iterator[Shopper]:
    """Somebody who has never been here."""
    with Shopper(demo.url) as visitor:
        yield visitor


@pytest.fixture
def stranger(demo: Demo) -> Iterator[Shopper]:
    """Somebody else."""
    with Shopper(demo.url) as visitor:
        yield visitor
