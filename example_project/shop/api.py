"""The shop for scripts: list products, order one, look at an order."""

import json
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.validators import slug_re
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from .models import Order, Product
from .views import make_order, remember


@require_safe
def products(request: HttpRequest) -> JsonResponse:
    """What is for sale."""
    listed = [
        {"slug": each.slug, "name": each.name, "amount": each.amount, "currency": each.currency}
        for each in Product.objects.all()
    ]
    return JsonResponse(listed, safe=False)


# Without a CSRF token, so that curl can order. The worst that a strange page could do with a visitor's session
# is to leave an unpaid order in it; it learns nothing, and nothing is charged.
@csrf_exempt
@require_POST
def create_order(request: HttpRequest) -> JsonResponse:
    """`{"product": slug}` → 201 `{order_id, amount, currency}`."""
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError, RequestDataTooBig):
        return refuse(400, "The body must be JSON.")
    slug = body.get("product") if isinstance(body, dict) else None
    if not isinstance(slug, str):
        return refuse(400, 'The body must be an object like {"product": "enamel-mug"}.')
    product = Product.objects.filter(slug=slug).first() if slug_re.match(slug) else None
    if product is None:
        return refuse(404, "There is no such product.")
    order = make_order(request, product)
    # A script without cookies gets none: its order belongs to whoever knows the id.
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        remember(request, order)
    return JsonResponse({"order_id": order.pk, "amount": order.amount, "currency": order.currency}, status=201)


@never_cache
@require_safe
def show_order(request: HttpRequest, order_id: str) -> JsonResponse:
    """`{order_id, paid, fulfilments}`."""
    order = Order.objects.find(order_id, request.user)
    if order is None:
        return refuse(404, "There is no such order.")
    facts: dict[str, Any] = {"order_id": order.pk, "paid": order.paid_at is not None, "fulfilments": order.fulfilments}
    return JsonResponse(facts)


def refuse(status: int, message: str) -> JsonResponse:
    """Say no, and why."""
    return JsonResponse({"error": message}, status=status)
