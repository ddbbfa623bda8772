"""A small shop that takes payments through django_gatewaypay. What that costs a host: `shop/payments.py`,
the `GATEWAYPAY` block of `settings.py`, and a few lines in `urls.py`, `asgi.py` and `celery.py`.
"""

from .celery import app as celery_app

__all__ = ["celery_app"]
