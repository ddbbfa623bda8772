"""Where this package is mounted."""

from django.urls import include, path

urlpatterns = [path("payments/", include("django_gatewaypay.urls"))]
