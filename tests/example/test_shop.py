"""The example shop, as its visitors see it."""

import json

import pytest

from .running import MARKS, PATIENCE, Demo, Shopper, until

pytestmark = MARKS

JSON = {"Content-Type": "application/json"}
BAD_ORDERS = [
    ("nothing", b"", 400),
    ("no json", b'{"product": ', 400),
    ("no utf-8", b'{"product": "\xff"}', 400),
    ("too deep", b"[" * 100_000, 400),
    ("a number without end", b'{"product": ' + b"9" * 10_000 + b"}", 400),
    ("too long", b'{"product": "' + b"x" * 3_000_000 + b'"}', 400),
    ("a list", b'["enamel-mug"]', 400),
    ("a word", b'"enamel-mug"', 400),
    ("null", b"null", 400),
    ("no product", b"{}", 400),
    ("a number", b'{"product": 1}', 400),
    ("an object", b'{"product": {"slug": "enamel-mug"}}', 400),
    ("unknown", b'{"product": "submarine"}', 404),
    ("empty", b'{"product": ""}', 404),
    ("NUL", b'{"product": "enamel-mug\\u0000"}', 404),
    ("half a character", b'{"product": "\\ud800"}', 404),
]
NO_ORDERS = ["AAAAAAAAAAAA", "x", "%00", "AAAAAAAAAAA%00", "%F0%9F%90%9F", "AAAAAAAAAAAA%0A", "-1", "x" * 2000]


def test_products(shopper: Shopper) -> None:
    """Everything has a price in its own currency, with that currency's decimals."""
    listed = {each["slug"]: (each["amount"], each["currency"]) for each in shopper.get("/api/products/").json()}

    assert len(listed) == 6
    assert listed["enamel-mug"] == ("19.99", "USD")
    assert listed["wool-scarf"] == ("24.00", "EUR")
    assert listed["sencha"] == ("2400", "JPY")
    assert listed["coffee-pot"] == ("12.500", "KWD")


@pytest.mark.parametrize("path", ["/api/orders/", "/api/orders"])
def test_order_by_script(shopper: Shopper, path: str) -> None:
    """A script orders with what curl sends by default, and gets no cookie."""
    answer = shopper.post(
        path, data='{"product": "enamel-mug"}', headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    body = answer.json()

    assert answer.status_code == 201
    assert set(body) == {"order_id", "amount", "currency"}
    assert (body["amount"], body["currency"]) == ("19.99", "USD")
    assert not answer.cookies
    assert shopper.facts(body["order_id"]) == {"order_id": body["order_id"], "paid": False, "fulfilments": 0}


@pytest.mark.parametrize(("body", "status"), [row[1:] for row in BAD_ORDERS], ids=[row[0] for row in BAD_ORDERS])
def test_bad_order(shopper: Shopper, body: bytes, status: int) -> None:
    """Bad input is refused with a reason."""
    answer = shopper.post("/api/orders/", data=body, headers=JSON)

    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize("order_id", NO_ORDERS)
def test_no_such_order(shopper: Shopper, order_id: str) -> None:
    """What is no order is not found, by scripts and by people."""
    answer = shopper.get(f"/api/orders/{order_id}/")

    assert (answer.status_code, answer.json()) == (404, {"error": "There is no such order."})
    assert shopper.get(f"/orders/{order_id}/").status_code == 404
    assert shopper.get(f"/orders/{order_id}/checkout/").status_code == 404


def test_methods(shopper: Shopper) -> None:
    """Orders are made by POST and read by GET."""
    assert shopper.get("/api/orders/").status_code == 405
    assert shopper.get("/products/sencha/order/").status_code == 405


def test_from_the_shelf_to_the_pay_page(shopper: Shopper) -> None:
    """A shopper without JavaScript gets from the list to the package's pay page by links and forms alone."""
    shelf = shopper.get("/")
    product = shopper.get("/products/wool-scarf/")
    checkout = shopper.submit(product, "/products/wool-scarf/order/")
    order_id = checkout.url.split("/")[-3]
    pay = shopper.submit(
        checkout, "/payments/initiate/", order_id=order_id, gateway="sandbox", return_url=f"/orders/{order_id}/"
    )

    assert 'href="/products/wool-scarf/"' in shelf.text
    assert "Pay 24.00 EUR" in checkout.text
    assert f'value="/orders/{order_id}/"' in checkout.text
    assert pay.url.startswith(f"{shopper.url}/payments/pay/")
    assert pay.status_code == 200
    assert not any("<script" in page.text for page in (shelf, product, checkout))


def test_paid_order(shopper: Shopper) -> None:
    """A paid order says so, and cannot be paid again."""
    order_id = shopper.order("sardines")
    back = shopper.decide(shopper.initiate(order_id), "pay")
    shopper.session.get(back, timeout=PATIENCE)
    until(lambda: shopper.facts(order_id)["paid"])  # a worker fulfils it, a moment after the answer
    again = shopper.post("/payments/initiate/", json={"order_id": order_id})

    assert "Thank you" in shopper.get(f"/orders/{order_id}/").text
    assert shopper.get(f"/orders/{order_id}/checkout/").url.endswith(f"/orders/{order_id}/")
    assert again.status_code == 422
    assert "paid already" in again.text


def test_my_orders(shopper: Shopper, stranger: Shopper) -> None:
    """A browser finds the orders that it made, and no others."""
    made = shopper.submit(shopper.get("/products/sencha/"), "/products/sencha/order/")
    order_id = made.url.split("/")[-3]
    # Its browser has a session now, so what a script of that page orders is remembered too.
    second = shopper.order()

    assert order_id in shopper.get("/orders/").text
    assert second in shopper.get("/orders/").text
    assert order_id not in stranger.get("/orders/").text


def test_order_of_a_user(demo: Demo, shopper: Shopper, stranger: Shopper) -> None:
    """The order of a signed-in user is there for that user only."""
    shopper.sign_in((demo.folder / "admin-password").read_text())
    order_id = shopper.order()
    refused = stranger.post("/payments/initiate/", json={"order_id": order_id})

    assert shopper.facts(order_id)["order_id"] == order_id
    assert order_id in shopper.get("/orders/").text
    assert stranger.get(f"/api/orders/{order_id}/").status_code == 404
    assert stranger.get(f"/orders/{order_id}/").status_code == 404
    assert refused.status_code == 404


def test_order_of_a_guest(shopper: Shopper, stranger: Shopper) -> None:
    """The order of a guest may be paid by whoever knows its id."""
    order_id = shopper.order()

    assert stranger.initiate(order_id)["amount"] == "19.99"


@pytest.mark.parametrize("value", [1, True, None, ["x"], {"x": 1}, "", "\0", "\ud800", "x" * 200])
def test_no_order_to_pay(shopper: Shopper, value: object) -> None:
    """An order id that is none starts no payment, and no error page."""
    answer = shopper.post("/payments/initiate/", data=json.dumps({"order_id": value}), headers=JSON)

    assert answer.status_code in {404, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_another_name_of_this_machine(demo: Demo, shopper: Shopper) -> None:
    """Who types `localhost` is led to the address that the gateway returns to."""
    answer = shopper.get("/orders/?x=1", headers={"Host": f"localhost:{demo.port}"}, allow_redirects=False)

    assert (answer.status_code, answer.headers["Location"]) == (302, f"{demo.url}/orders/?x=1")


def test_static_files(shopper: Shopper) -> None:
    """The shop, the pay page and the admin have their styles."""
    for path in (
        "shop/shop.css",
        "shop/art/sencha.svg",
        "gatewaypay/gatewaypay.css",
        "gatewaypay/gatewaypay.js",
        "admin/css/base.css",
    ):
        assert shopper.get(f"/static/{path}").status_code == 200
    assert shopper.get("/favicon.ico").headers["Content-Type"] == "image/svg+xml"
