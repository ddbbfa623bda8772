"""The addresses of our own suite, as a host would mount them."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("payments/", include("django_gatewaypay.urls")),
    path("admin/", admin.site.urls),
    path("sandbox/", include("django_gatewaypay.sandbox.urls")),
]
