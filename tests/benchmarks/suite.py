"""Django with the settings of our suite, admin and all, on the database of a bench."""

import os

__all__ = ["set_up"]


def set_up() -> None:
    """Settings, and no tables: the database has them."""
    os.environ |= {
        "DATABASE_URL": os.environ["GATEWAYPAY_BENCH_DATABASE"],
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "GATEWAYPAY_TEST_DB": "postgres",
        # The settings start their servers for a test run only.
        "PYTEST_VERSION": "benchmark",
    }
    import django

    django.setup()
