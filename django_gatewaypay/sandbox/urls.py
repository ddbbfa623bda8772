"""Where the sandbox listens: `path("sandbox/", include("django_gatewaypay.sandbox.urls"))`."""

from django.urls import path

from . import api, pages

app_name = "gatewaypay_sandbox"

urlpatterns = [
    path("", pages.index, name="root"),
    path("create-session", api.create_session, name="create-session"),
    path("status/<slug:reference>", api.status, name="status"),
    path("find/<str:transaction_id>", api.find, name="find"),
    path("cancel/<slug:reference>", api.cancel, name="cancel"),
    path("capture/<slug:reference>", api.capture, name="capture"),
    path("refund/<slug:reference>", api.refund, name="refund"),
    path("refunds/<slug:reference>", api.refunds, name="refunds"),
    path("list", api.list_payments, name="list"),
    path("pay/<slug:reference>/after/", pages.after, name="after"),
    path("pay/<slug:reference>/", pages.pay, name="pay"),
]
