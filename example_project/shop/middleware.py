"""One name for one machine."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect

LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


def one_name(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Lead a person who typed `localhost` to `127.0.0.1`.

    Cookies belong to a name, and the gateway sends the shopper back to the name in `BASE_URL`.
    """
    home = urlsplit(settings.BASE_URL).netloc

    def middleware(request: HttpRequest) -> HttpResponseBase:
        here = request.get_host()
        names = {host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host for host in (here, home)}
        if here != home and names <= LOOPBACK and request.method == "GET" and not request.path.startswith("/api/"):
            return HttpResponseRedirect(settings.BASE_URL + request.get_full_path())
        return get_response(request)

    return middleware
