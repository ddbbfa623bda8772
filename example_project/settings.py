"""The shop's settings. What belongs to payments is at the end."""

import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import django

from example_project.gateways import choose_gateway

ROOT = Path(__file__).resolve().parent.parent
#: What the shop keeps between two starts: its database, its secret, the password of its staff.
DATA = Path(os.environ.get("GATEWAYPAY_DEMO_DIR") or ROOT / ".demo")
BASE_URL = os.environ.get("BASE_URL", "http://127.0.0.1:8000").rstrip("/")
REDIS_URL = os.environ.get("REDIS_URL", "")


def keep_secret(name: str, size: int = 48) -> str:
    """A random word that is made once and kept in a file."""
    path = DATA / name
    DATA.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(size))
    except FileExistsError:
        pass
    return path.read_text()


def database_from_url(url: str) -> dict[str, Any]:
    """Django's words for postgresql://user:password@host:port/name?host=/a/socket/folder."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgres"):
        raise ValueError("DATABASE_URL must be a postgresql:// address.")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "postgres",
        "USER": unquote(parts.username or options.pop("user", "")),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", "") or parts.hostname or "",
        "PORT": str(parts.port or options.pop("port", "")),
        "OPTIONS": options,
    }


def sqlite() -> dict[str, Any]:
    """A file that many can read while one writes, and where writers queue up."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "shop.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


DEBUG = os.environ.get("DJANGO_DEBUG", "1") != "0"
SECRET_KEY = keep_secret("secret-key")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", urlsplit(BASE_URL).hostname or ""]
CSRF_TRUSTED_ORIGINS = [BASE_URL]

INSTALLED_APPS = [
    "example_project.shop",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "channels",
    "django_gatewaypay",
    "django_gatewaypay.sandbox",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.shop.middleware.one_name",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",  # the payment's pages speak the shopper's language
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
ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
DATABASES = {"default": database_from_url(os.environ["DATABASE_URL"]) if os.environ.get("DATABASE_URL") else sqlite()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "shop:orders"
LOGOUT_REDIRECT_URL = "shop:products"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(name)s %(levelname)s: %(message)s", "datefmt": "%H:%M:%S"}},
    "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        name: {"handlers": ["line"], "level": "INFO", "propagate": False} for name in ("gatewaypay", "shop", "celery")
    },
}

# Mail is printed in the terminal. Django 6.1 calls its way out a mailer.
MAIL_TO_TERMINAL = "example_project.shop.mail.TerminalBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": MAIL_TO_TERMINAL}}
else:
    EMAIL_BACKEND = MAIL_TO_TERMINAL

# From here on: payments.

CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300}  # a worker that died is noticed after five minutes
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # LOGGING above holds for the worker too

GATEWAYPAY = {
    "ORDERS": "example_project.shop.payments.ShopOrders",
    "BASE_URL": BASE_URL,
    "GATEWAYS": choose_gateway(os.environ),
    "USE_CELERY": bool(REDIS_URL),
    "EXPIRE_AFTER": timedelta(seconds=float(os.environ.get("GATEWAYPAY_EXPIRE_AFTER") or 30 * 60)),
    "POLL_AFTER": timedelta(seconds=float(os.environ.get("GATEWAYPAY_POLL_AFTER") or 15 * 60)),
    "THROTTLES": {},  # every visitor of a demo has the same address; leave this line out in a real shop
}
