"""The battery that every adapter has to pass (docs/how-to/add-a-gateway).

class TestAcme(GatewayContract):
    server_class = AcmeServer
    states = AcmeGateway.STATES
    amounts = ((Money("19.99", "EUR"), 1999), (Money(2000, "JPY"), 2000), (Money("1.25", "KWD"), 1250))

    def make_gateway(self, api_base, secrets, **options):
        return AcmeGateway("acme", api_base=api_base, webhook_secrets=secrets, **options)
"""

from .callbacks import CallbackTests
from .calls import CallTests
from .lists import ListTests
from .movements import CaptureTests, RefundTests
from .secrecy import SecrecyTests
from .shape import ShapeTests
from .words import WordTests

__all__ = ["GatewayContract"]


class GatewayContract(
    ShapeTests, CallTests, CallbackTests, WordTests, RefundTests, CaptureTests, ListTests, SecrecyTests
):
    """Subclass it as `Test…`, fill in what `bench.Bench` asks for, and pytest runs the rest.

    What does not apply is skipped by the gateway's flags, and by `signs_time` and `signs_bytes`.
    """
