"""Celery, with the package's clock."""

import os
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def plan(sender: Celery, **_: Any) -> None:
    """The package's entries; its tasks can be imported once Django is set up."""
    from django_gatewaypay.tasks import beat_schedule  # noqa: PLC0415

    sender.conf.beat_schedule = beat_schedule()
