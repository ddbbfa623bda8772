"""Where the rival is mounted."""

from django.urls import include, path

urlpatterns = [path("payments/", include("payments.urls"))]
