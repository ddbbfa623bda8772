"""The example in "Test your integration" is a test, and it passes."""

import re

import pytest

from ..conftest import REPOSITORY
from ..shop.models import Order

PAGE = (REPOSITORY / "docs" / "how-to" / "test.md").read_text()
(EXAMPLE, *_) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def order(transactional_db: None) -> Order:
    return Order.objects.create()


# The page's own fixture and test; our shop has a flag where the page has a time.
exec(EXAMPLE.replace("order.paid_at", "order.paid"))  # noqa: S102 - our own page
