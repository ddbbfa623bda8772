"""The settings of our own suite. `GATEWAYPAY_TEST_DB` chooses the database: sqlite (default) or postgres."""

import base64
import os

import django

from . import embedded

# Only a test run needs servers; the type checker and makemigrations read these settings too.
UNDER_TEST = "PYTEST_VERSION" in os.environ

SECRET_KEY = "a constant for tests, known to everybody"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost", "shop.example"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "channels",
    "django_gatewaypay",
    "django_gatewaypay.sandbox.apps.SandboxConfig",
    "tests.shop",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

if os.environ.get("GATEWAYPAY_TEST_DB", "sqlite") == "postgres":
    DATABASES = {"default": embedded.database_from_url(embedded.postgres_url() if UNDER_TEST else "postgresql:///")}
else:
    # A file, because a database in memory cannot be shared by threads the way that a server's is.
    FOLDER = embedded.scratch() if UNDER_TEST else None
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(FOLDER / "unused.sqlite3") if FOLDER else ":memory:",
            "TEST": {"NAME": str(FOLDER / "test.sqlite3") if FOLDER else None},
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [embedded.redis_url() if UNDER_TEST else "redis://127.0.0.1:9/0"]},
    }
}

# Mail goes nowhere. Django 6.1 calls its way out a mailer.
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

HOSTED_SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes for the tests!!").decode()
GATEWAYPAY = {
    "BASE_URL": "https://shop.example",
    "ORDERS": "tests.shop.ShopOrders",
    "ALLOW_SANDBOX": True,  # this is the "test suite" of its check
    "GATEWAYS": {
        "hosted": {
            "BACKEND": "django_gatewaypay.gateways.hosted.HostedGateway",
            "OPTIONS": {"api_base": "http://127.0.0.1:9/", "webhook_secrets": [HOSTED_SECRET]},
        }
    },
}
