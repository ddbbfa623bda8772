"""Where the floor is mounted."""

from django.urls import path

from . import views

urlpatterns = [
    path("callback/orm/", views.callback_orm),
    path("callback/raw/", views.callback_raw),
    path("initiate/<str:call>/", views.initiate),
    path("status/<uuid:pk>/", views.status),
]
