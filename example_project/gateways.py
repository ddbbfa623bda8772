"""The gateway of the shop, chosen by environment variables. README.md says how."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

__all__ = ["CHOICES", "Wanted", "choose_gateway"]

#: By option of an adapter: its variable; a "?" marks one that may be missing, a "*" several words.
Wanted = Mapping[str, str]

CHOICES: Mapping[str, tuple[str, Wanted]] = {
    "sandbox": ("django_gatewaypay.sandbox.gateway.SandboxGateway", {}),
    "hosted": (
        "django_gatewaypay.gateways.hosted.HostedGateway",
        {"api_base": "HOSTED_API_BASE", "webhook_secrets": "HOSTED_WEBHOOK_SECRETS*", "api_key": "HOSTED_API_KEY?"},
    ),
    "stripe": (
        "django_gatewaypay.gateways.stripe.StripeGateway",
        {"api_key": "STRIPE_API_KEY", "webhook_secrets": "STRIPE_WEBHOOK_SECRETS*", "api_base": "STRIPE_API_BASE?"},
    ),
    "paypal": (
        "django_gatewaypay.gateways.paypal.PayPalGateway",
        {
            "client_id": "PAYPAL_CLIENT_ID",
            "client_secret": "PAYPAL_CLIENT_SECRET",
            "webhook_id": "PAYPAL_WEBHOOK_ID",
            "api_base": "PAYPAL_API_BASE?",
        },
    ),
    "mollie": (
        "django_gatewaypay.gateways.mollie.MollieGateway",
        {"api_key": "MOLLIE_API_KEY", "webhook_secrets": "MOLLIE_WEBHOOK_SECRETS*?", "api_base": "MOLLIE_API_BASE?"},
    ),
    "adyen": (
        "django_gatewaypay.gateways.adyen.AdyenGateway",
        {
            "api_key": "ADYEN_API_KEY",
            "merchant_account": "ADYEN_MERCHANT_ACCOUNT",
            "hmac_keys": "ADYEN_HMAC_KEYS*",
            "country_code": "ADYEN_COUNTRY_CODE?",
            "live_prefix": "ADYEN_LIVE_PREFIX?",
            "api_base": "ADYEN_API_BASE?",
        },
    ),
}


def choose_gateway(environ: Mapping[str, str]) -> dict[str, Any]:
    """`GATEWAYPAY["GATEWAYS"]`, with the one gateway that `GATEWAYPAY_GATEWAY` names.

    Raises:
        ImproperlyConfigured: it names none, or a variable of it is missing.
    """
    name = environ.get("GATEWAYPAY_GATEWAY") or "sandbox"
    if name not in CHOICES:
        raise ImproperlyConfigured(f"GATEWAYPAY_GATEWAY={name} is none of: {', '.join(CHOICES)}.")
    backend, wanted = CHOICES[name]
    names = {option: variable.rstrip("*?") for option, variable in wanted.items()}
    missing = [names[option] for option in names if not wanted[option].endswith("?") and not environ.get(names[option])]
    if missing:
        raise ImproperlyConfigured(f"GATEWAYPAY_GATEWAY={name} also needs: {', '.join(missing)}.")
    given = {option: environ[variable] for option, variable in names.items() if environ.get(variable)}
    options: dict[str, Any] = {
        option: text.split() if "*" in wanted[option] else text for option, text in given.items()
    }
    if name == "paypal" and environ.get("PAYPAL_LIVE") != "1":
        options["sandbox"] = True
    return {name: {"BACKEND": backend, "OPTIONS": options} if options else {"BACKEND": backend}}
