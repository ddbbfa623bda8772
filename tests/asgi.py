"""The ASGI application of our own suite, as a host would write it."""

import os
from contextlib import closing

from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402 - apps must be loaded first
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402

from django_gatewaypay.routing import websocket_urlpatterns  # noqa: E402


class StaticFiles(ASGIStaticFilesHandler):
    """Serves bytes: Django forgets an open file where the browser turns away, and a warning is an error here."""

    def serve(self, request: HttpRequest) -> HttpResponse:
        with closing(super().serve(request)) as found:
            return HttpResponse(found.getvalue(), status=found.status_code, headers=found.headers)


application = ProtocolTypeRouter(
    {
        "http": StaticFiles(django_application),
        "websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns)),
    }
)
