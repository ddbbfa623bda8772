"""Check payment status from another device, at the demo."""

import re

from .running import MARKS, Demo, Shopper, until

pytestmark = MARKS


def test_a_shopper_finds_the_payment_on_another_device(demo: Demo, shopper: Shopper, stranger: Shopper) -> None:
    """The address given with the order gets a link, which the terminal shows; it opens the payment elsewhere."""
    checkout = shopper.submit(shopper.get("/products/sencha/"), "/products/sencha/order/", email="ann@shop.example")
    order_id = checkout.url.split("/")[-3]
    payment = shopper.initiate(order_id)
    link = re.compile(rf"{re.escape(demo.url)}(/payments/check/[\w:-]+/)")
    before = set(link.findall(demo.output))
    sent = stranger.submit(
        stranger.get("/payments/check/"), "/payments/check/", order_id=order_id, email="Ann@Shop.example"
    )
    [path] = until(lambda: set(link.findall(demo.output)) - before)
    found = stranger.get(path)

    assert "we have sent a link to it" in sent.text
    assert found.url == f"{demo.url}/payments/check/"
    assert f"/payments/return/{payment['id']}/" in found.text


def test_an_address_that_is_none_is_told_at_its_field(shopper: Shopper) -> None:
    """And nothing is ordered."""
    answer = shopper.submit(shopper.get("/products/sencha/"), "/products/sencha/order/", email="ann at home")

    assert answer.status_code == 422
    assert "This is not an e-mail address." in answer.text
    assert 'value="ann at home"' in answer.text
