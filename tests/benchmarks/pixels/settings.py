"""Its settings: those of the suite, with the servers that production has."""

import os

from tests.settings import (  # noqa: F401 - Django reads them here
    DEFAULT_AUTO_FIELD,
    HOSTED_SECRET,
    INSTALLED_APPS,
    MIDDLEWARE,
    ROOT_URLCONF,
    SECRET_KEY,
    STATIC_URL,
    TEMPLATES,
    USE_TZ,
)

from ..side import database

DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1"]
REDIS_URL = os.environ["GATEWAYPAY_BENCH_REDIS"]
# Under ASGI every request has a thread of its own, and a kept connection would be nobody's: the checklist's pool.
known = database()
DATABASES = {"default": {**known, "CONN_MAX_AGE": 0, "OPTIONS": {**known["OPTIONS"], "pool": True}}}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
LOGGING_CONFIG = None

CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "gatewaypay-pixels"
CELERY_TASK_IGNORE_RESULT = True

GATEWAYPAY = {
    "BASE_URL": "http://127.0.0.1",
    "ORDERS": "tests.shop.ShopOrders",
    "USE_CELERY": True,
    "THROTTLES": {},  # all shoppers have one address here
    "GATEWAYS": {
        "hosted": {
            "BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway",
            "OPTIONS": {"api_base": os.environ["GATEWAYPAY_BENCH_GATEWAY"], "webhook_secrets": [HOSTED_SECRET]},
        }
    },
}
