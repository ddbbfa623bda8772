"""The shop's pages. None of them touches a payment: the checkout's form leads to the package."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from django_gatewaypay.models import Transaction

from .models import Order, Product

KEPT = 50


def make_order(request: HttpRequest, product: Product, email: str = "") -> Order:
    """A new order of the signed-in user, or of nobody, who may leave an address."""
    return Order.objects.create(
        product=product,
        amount_minor=product.amount_minor,
        currency=product.currency,
        user=request.user if request.user.is_authenticated else None,
        email=email,
    )


def remember(request: HttpRequest, order: Order) -> None:
    """Let this browser find the order again."""
    request.session["orders"] = [order.pk, *request.session.get("orders", [])][:KEPT]


def find_order(request: HttpRequest, order_id: str) -> Order:
    """The order of this visitor.

    Raises:
        Http404: there is none.
    """
    found = Order.objects.find(order_id, request.user)
    if found is None:
        raise Http404("There is no such order.")
    return found


@require_safe
def products(request: HttpRequest) -> HttpResponse:
    """Everything that there is to buy."""
    return render(request, "shop/products.html", {"products": Product.objects.all()})


@require_safe
def product(request: HttpRequest, slug: str) -> HttpResponse:
    """One product."""
    return render(request, "shop/product.html", {"product": get_object_or_404(Product, slug=slug)})


@require_POST
def order_product(request: HttpRequest, slug: str) -> HttpResponse:
    """Order it, and go on to the checkout."""
    found = get_object_or_404(Product, slug=slug)
    email = request.POST.get("email", "").strip()
    try:
        Order._meta.get_field("email").clean(email, None)
    except ValidationError:
        context = {"product": found, "email": email, "wrong": True}
        return render(request, "shop/product.html", context, status=422)
    made = make_order(request, found, email)
    remember(request, made)
    return redirect("shop:checkout", made.pk)


@never_cache
@require_safe
def checkout(request: HttpRequest, order_id: str) -> HttpResponse:
    """The order with its price, and the button that starts the payment."""
    found = find_order(request, order_id)
    if found.paid_at:
        return redirect("shop:order", found.pk)
    (gateway,) = settings.GATEWAYPAY["GATEWAYS"]
    return render(request, "shop/checkout.html", {"order": found, "gateway": gateway})


@never_cache
@require_safe
def order(request: HttpRequest, order_id: str) -> HttpResponse:
    """One order, with its payment."""
    found = find_order(request, order_id)
    payment = Transaction.objects.filter(order_id=found.pk).order_by("-created_at").first()
    return render(request, "shop/order.html", {"order": found, "payment": payment})


@never_cache
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """The orders of this user, and those that this browser made as a guest."""
    mine = Order.objects.filter(user=None, pk__in=request.session.get("orders", []))
    if request.user.is_authenticated:
        mine |= Order.objects.filter(user=request.user)
    return render(request, "shop/orders.html", {"orders": mine.select_related("product")[:KEPT]})
