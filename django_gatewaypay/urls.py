"""Mount with `path("payments/", include("django_gatewaypay.urls"))`."""

from django.urls import path

from . import views

app_name = "gatewaypay"

urlpatterns = [
    path("initiate/", views.InitiateView.as_view(), name="initiate"),
    # Django cannot redirect a POST to the address with the slash.
    path("initiate", views.InitiateView.as_view()),
    path("status/<str:text_id>/", views.StatusView.as_view(), name="status"),
    path("cancel/<str:text_id>/", views.CancelView.as_view(), name="cancel"),
    path("gateways/", views.GatewaysView.as_view(), name="gateways"),
    path("callbacks/<str:alias>/", views.callback, name="callback"),
    # A redirect would lose the gateway's body.
    path("callbacks/<str:alias>", views.callback),
    path("transactions/", views.TransactionsView.as_view(), name="transactions"),
    path("transactions/<str:text_id>/", views.TransactionView.as_view(), name="transaction"),
    path("transactions/<str:text_id>/cancel/", views.TransactionCancelView.as_view(), name="transaction-cancel"),
    path("transactions/<str:text_id>/capture/", views.CaptureView.as_view(), name="transaction-capture"),
    path("transactions/<str:text_id>/refresh/", views.RefreshView.as_view(), name="transaction-refresh"),
    path("transactions/<str:text_id>/refunds/", views.RefundsView.as_view(), name="transaction-refunds"),
    path("health/", views.health, name="health"),
    path("pay/<str:text_id>/", views.pay_page, name="pay"),
    path("return/<str:text_id>/", views.return_page, name="return"),
    path("check/", views.check_page, name="check"),
    path("check/<str:signed>/", views.open_link, name="link"),
]
