"""The host's Celery app, as docs/how-to/clock.md has it; its beat goes round every second."""

from typing import Any

from celery import Celery

app = Celery("chaos")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def plan(sender: Celery, **_: Any) -> None:
    """A run is too short for the entries' own minutes."""
    from django_gatewaypay.tasks import beat_schedule

    sender.conf.beat_schedule = {name: {**entry, "schedule": 1.0} for name, entry in beat_schedule().items()}
