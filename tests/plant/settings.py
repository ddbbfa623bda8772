"""The host under test: a shop with Celery, PostgreSQL and Valkey, whose short times fit into a run.

Addresses and times come from the environment; see `shop.environment`.
"""

import os
from datetime import timedelta

from tests.settings import (
    DEFAULT_AUTO_FIELD as DEFAULT_AUTO_FIELD,
)
from tests.settings import (
    HOSTED_SECRET,
)
from tests.settings import (
    INSTALLED_APPS as INSTALLED_APPS,
)
from tests.settings import (
    MIDDLEWARE as MIDDLEWARE,
)
from tests.settings import (
    PASSWORD_HASHERS as PASSWORD_HASHERS,
)
from tests.settings import (
    ROOT_URLCONF as ROOT_URLCONF,
)
from tests.settings import (
    SECRET_KEY as SECRET_KEY,
)
from tests.settings import (
    STATIC_URL as STATIC_URL,
)
from tests.settings import (
    TEMPLATES as TEMPLATES,
)

DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
ALLOWED_HOSTS = ["127.0.0.1"]
CELERY = os.environ["PLANT_CLOCK"] == "celery"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": os.environ["PLANT_DATABASE_HOST"],
        "PORT": os.environ["PLANT_DATABASE_PORT"],
        # Workers keep their connections, as their threads stay; the web's come and go with the request, unless it has
        # threads of its own.
        "CONN_MAX_AGE": int(os.environ.get("PLANT_CONN_MAX_AGE", "0")),
        "CONN_HEALTH_CHECKS": bool(os.environ.get("PLANT_HEALTH_CHECKS")),
        "OPTIONS": {"sslmode": "disable", "gssencmode": "disable"},
    }
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": os.environ["PLANT_REDIS_URLS"].split()},
    }
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(name)s %(levelname)s: %(message)s"}},
    "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["line"], "level": "WARNING"},
    "loggers": {"gatewaypay": {"level": "INFO"}},
}

CELERY_BROKER_URL = os.environ["PLANT_BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
if os.environ.get("PLANT_ACKS") == "late":
    CELERY_TASK_ACKS_LATE = True
    CELERY_TASK_REJECT_ON_WORKER_LOST = True
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 30}

GATEWAYPAY = {
    "BASE_URL": os.environ["PLANT_SHOP_URL"],
    "ORDERS": "tests.shop.ShopOrders",
    "USE_CELERY": CELERY,
    "POLL_AFTER": timedelta(seconds=float(os.environ["PLANT_POLL_AFTER"])),
    "EXPIRE_AFTER": timedelta(seconds=float(os.environ["PLANT_EXPIRE_AFTER"])),
    "THROTTLES": {},  # all shoppers have one address here
    "AUTHENTICATION": ["rest_framework.authentication.BasicAuthentication"],
    "ALLOW_SANDBOX": True,
    "GATEWAYS": {
        "hosted": {
            "BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway",
            "OPTIONS": {"api_base": os.environ["PLANT_GATEWAY_URL"], "webhook_secrets": [HOSTED_SECRET]},
        }
    },
}
