"""The host's Celery app, as docs/how-to/clock.md has it."""

import os
from typing import Any

from celery import Celery

app = Celery("plant")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def plan(sender: Celery, **_: Any) -> None:
    """A run may be too short for the entries' own minutes."""
    from django_gatewaypay.tasks import beat_schedule

    pace = os.environ.get("PLANT_BEAT")
    quick = {"schedule": float(pace)} if pace else {}
    sender.conf.beat_schedule = {name: {**entry, **quick} for name, entry in beat_schedule().items()}
