"""The bench that looks at pixels, with one payment: the whole way is there, and no time is judged."""

import pytest

from tests.benchmarks.benches.pixels import measure

from .browsers import chromium_path

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_callback_changes_pixels() -> None:
    """Over uvicorn, Valkey and a Celery worker; the page is painted after the gateway has spoken."""
    path = chromium_path()
    if path is None:
        pytest.skip("NO BROWSER: install Debian's chromium to run the browser tests")
    [payment] = measure(path, 1, warm=0)

    assert payment["answered"] > 0
    assert payment["painted"] > 0
