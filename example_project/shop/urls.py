"""The shop's pages, and its API for scripts."""

from django.urls import path

from . import api, views

app_name = "shop"

urlpatterns = [
    path("", views.products, name="products"),
    path("products/<slug:slug>/", views.product, name="product"),
    path("products/<slug:slug>/order/", views.order_product, name="order-product"),
    path("orders/", views.orders, name="orders"),
    path("orders/<str:order_id>/", views.order, name="order"),
    path("orders/<str:order_id>/checkout/", views.checkout, name="checkout"),
    path("api/products/", api.products),
    path("api/orders/", api.create_order),
    # A redirect would lose the body of a POST.
    path("api/orders", api.create_order),
    path("api/orders/<str:order_id>/", api.show_order),
]
