"""WebSocket routes: put `websocket_urlpatterns` into the host's `URLRouter`."""

from django.urls import path

from .consumers import TransactionConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [
    # Django's stubs know views only; Channels routes applications by the same `path`.
    path("ws/payments/<str:text_id>/", TransactionConsumer.as_asgi()),  # type: ignore[arg-type]
]
