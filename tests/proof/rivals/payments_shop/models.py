"""The host's payment, as the documentation of django-payments writes it."""

from payments.models import BasePayment


class Payment(BasePayment):
    """What is paid for one order."""

    def get_success_url(self) -> str:
        return "http://127.0.0.1/ok"

    def get_failure_url(self) -> str:
        return "http://127.0.0.1/no"
