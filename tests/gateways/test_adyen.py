"""Adyen, against a scripted account on loopback, Adyen's own SDK, examples and API description."""

import base64
import hashlib
import hmac
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from Adyen.util import generate_notification_sig, is_valid_hmac_notification
from django.core.exceptions import ImproperlyConfigured
from moneyed import Money
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from django_gatewaypay.exceptions import GatewayRejected, GatewayUnavailable, InvalidSignature, MalformedCallback
from django_gatewaypay.gateways import adyen_wire, http
from django_gatewaypay.gateways.adyen import AdyenGateway
from django_gatewaypay.testing.gateway_server import Answer, GatewayServer, RecordedRequest
from django_gatewaypay.types import (
    DECLINE_CODES,
    CallbackRequest,
    PaymentRef,
    PaymentRequest,
    RefundRequest,
    RefundState,
    RefundUpdate,
    State,
)

ACCOUNT = "YOUR_MERCHANT_ACCOUNT"
KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
OLD_KEY = "74F490DD33F7327BAECC88B2947C011FC02D014A473AAA33A8EC93E4DC069174"
API_KEY = "AQE-secret-api-key"
NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
OUR_ID = "0199f0c2-7c1e-7000-8000-000000000001"
REQUEST = PaymentRequest(
    created_at=NOW,
    transaction_id=OUR_ID,
    order_id="1234",
    amount=Money("19.90", "EUR"),
    callback_url="https://shop.example/payments/callbacks/adyen/",
    return_url="https://shop.example/payments/return/0199f0c2/",
    expires_at=NOW + timedelta(minutes=30),
    idempotency_key=f"gatewaypay-{OUR_ID}",
    description="Order 1234",
)
PAID = PaymentRef(
    transaction_id=OUR_ID, gateway_reference="CS1", payment_reference="QFQTPCQ8HXSKGK82", amount=REQUEST.amount
)
SHARED = Path(os.environ.get("GATEWAYPAY_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def read_shared(name: str) -> dict[str, Any]:
    file = SHARED / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


CHECKOUT = read_shared("specs/adyen-checkout-v71.trimmed.json")
WEBHOOKS = read_shared("specs/adyen-webhooks-v1.trimmed.json")
VECTORS = [one for one in read_shared("vectors.json").get("vectors", []) if one["gateway"] == "adyen" and "item" in one]
needs_spec = pytest.mark.skipif(not CHECKOUT, reason="no specs/ of Adyen: name its folder in GATEWAYPAY_SHARED")
EXAMPLES = {
    name.split("-")[1]: example["value"] for name, example in WEBHOOKS.get("components", {}).get("examples", {}).items()
}


class AdyenServer(GatewayServer):
    """Sessions, links and modifications of one account; the same key replays the same answer."""

    def work(self, request: RecordedRequest) -> tuple[int, dict[str, Any]]:
        if request.headers.get("x-api-key") != API_KEY:
            return 401, {"status": 401, "errorCode": "000", "message": "HTTP Status Response - Unauthorized"}
        path = request.path.strip("/").split("/")
        if path[0] == "paymentLinks" and len(path) == 2:
            return self._link(request, path[1])
        if not request.key or len(request.key) > 64:
            return 422, {"status": 422, "errorCode": "702", "errorType": "validation"}
        if request.key in self._keys:
            return 201, self.sessions[self._keys[request.key][1]]
        reference = f"{path[0]}-{uuid.uuid4().hex}"
        self._keys[request.key] = None, reference
        if path[0] == "payments":
            self.sessions[reference] = {"pspReference": reference, "status": "received"}
        else:
            self.sessions[reference] = {"id": reference, "url": f"{self.url}pay/{reference}", "status": "active"}
        return 201, self.sessions[reference]

    def _link(self, request: RecordedRequest, reference: str) -> tuple[int, dict[str, Any]]:
        link = self.sessions[reference]
        if request.method == "PATCH":
            if link["status"] != "active":
                return 422, {"status": 422, "errorCode": "204", "errorType": "validation"}
            link.update(request.json)
        return 200, link


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not wait."""
    monkeypatch.setattr(http.time, "sleep", lambda _: None)


@pytest.fixture
def server() -> Iterator[AdyenServer]:
    """Whatever was sent to it is checked against Adyen's own API description."""
    with AdyenServer() as running:
        yield running
    for call in running.requests:
        if CHECKOUT and call.body:
            assert find_faults(call) == []


def find_faults(call: RecordedRequest) -> list[str]:
    """What Adyen's description says against the body of a call."""
    wanted = call.path.strip("/").split("/")
    for path, operations in CHECKOUT["paths"].items():
        steps = path.strip("/").split("/")
        if len(steps) == len(wanted) and all(a == b or a[0] == "{" for a, b in zip(steps, wanted, strict=True)):
            found = operations[call.method.lower()]["requestBody"]["content"]["application/json"]["schema"]
            registry = Registry().with_resource("urn:adyen", DRAFT202012.create_resource(CHECKOUT))
            check = OAS31Validator({"$ref": f"urn:adyen{found['$ref']}"}, registry=registry)
            return [error.message for error in check.iter_errors(call.json)]
    return [f"no such path: {call.path}"]


def make(server: GatewayServer | None = None, **options: Any) -> AdyenGateway:
    given = {"api_key": API_KEY, "merchant_account": ACCOUNT, "hmac_keys": [KEY], "timeout": (10, 10)} | options
    return AdyenGateway("adyen", api_base=server.url if server else "", **given)


def item(event: str = "AUTHORISATION", success: str = "true", **fields: Any) -> dict[str, Any]:
    return {
        "amount": {"currency": "EUR", "value": 1990},
        "eventCode": event,
        "eventDate": "2026-11-22T11:00:00+01:00",
        "merchantAccountCode": ACCOUNT,
        "merchantReference": OUR_ID,
        "pspReference": "QFQTPCQ8HXSKGK82",
        "reason": "",
        "success": success,
        **fields,
    }


def signed(*items: dict[str, Any], key: str = KEY, live: str = "false") -> CallbackRequest:
    """A callback that Adyen's own SDK has signed."""
    wrapped = []
    for one in items:
        plain = {name: value for name, value in one.items() if value is not None}
        signature = generate_notification_sig(plain, key).decode()
        more = {**plain.get("additionalData", {}), "hmacSignature": signature}
        wrapped.append({"NotificationRequestItem": {**one, "additionalData": more}})
    return CallbackRequest({}, json.dumps({"live": live, "notificationItems": wrapped}).encode())


def refused(request: CallbackRequest, **options: Any) -> bool:
    try:
        make(**options).verify_callback(request)
    except InvalidSignature:
        return True
    return False


def read_one(*items: dict[str, Any], **options: Any) -> Any:
    (update,) = make(**options).parse_callback(signed(*items))
    return update


# --- Opening a session.


def test_a_hosted_session_is_opened_with_what_adyen_asks_for(server: AdyenServer) -> None:
    """Minor units, our id as reference, our key, capture at once."""
    session = make(server, country_code="NL").create_session(REQUEST)
    (call,) = server.requests

    assert call.path == "/sessions"
    assert call.json == {
        "merchantAccount": ACCOUNT,
        "amount": {"currency": "EUR", "value": 1990},
        "reference": OUR_ID,
        "returnUrl": REQUEST.return_url,
        "expiresAt": "2026-11-22T10:30:00+00:00",
        "countryCode": "NL",
        "mode": "hosted",
        "captureDelayHours": 0,
    }
    assert call.key == REQUEST.idempotency_key
    assert session.next_action.url == f"{server.url}pay/{session.gateway_reference}"


def test_a_payment_link_is_opened_with_its_description(server: AdyenServer) -> None:
    """Pay by Link is another path with the same core."""
    make(server, product="link").create_session(replace(REQUEST, description="x" * 400))
    (call,) = server.requests

    assert call.path == "/paymentLinks"
    assert call.json["description"] == "x" * 280
    assert "mode" not in call.json


@pytest.mark.parametrize(
    ("product", "said"),
    [("sessions", {"additionalData": {"manualCapture": "true"}}), ("link", {"manualCapture": True})],
)
def test_manual_capture_is_asked_for_and_signed_into_the_reference(
    server: AdyenServer, product: str, said: dict[str, Any]
) -> None:
    """The callback says by itself, under its signature, that money was only reserved."""
    make(server, product=product).create_session(replace(REQUEST, manual_capture=True))
    (call,) = server.requests
    update = read_one(item(merchantReference=call.json["reference"]))

    assert said.items() <= call.json.items()
    assert "captureDelayHours" not in call.json
    assert (update.transaction_id, update.state) == (OUR_ID, State.AUTHORIZED)
    assert (update.authorized, update.captured) == (REQUEST.amount, None)


@pytest.mark.parametrize(("product", "limit"), [("sessions", timedelta(hours=24)), ("link", timedelta(days=70))])
def test_the_expiry_stays_within_what_adyen_allows(server: AdyenServer, product: str, limit: timedelta) -> None:
    """A host that gives its shoppers a year gets Adyen's longest time."""
    make(server, product=product).create_session(replace(REQUEST, expires_at=NOW + timedelta(days=365)))

    assert server.requests[0].json["expiresAt"] == (NOW + limit).isoformat()


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [
        ("1990", "JPY", 1990),
        ("19.90", "EUR", 1990),
        ("1.234", "KWD", 1234),
        ("1000", "CLP", 100000),
        ("1000", "ISK", 100000),
        ("1000", "CVE", 1000),
        ("15000", "IDR", 15000),
    ],
)
def test_money_follows_adyens_own_table(server: AdyenServer, amount: str, currency: str, value: int) -> None:
    """Out and back without a loss, where Adyen counts other places than ISO too."""
    money = Money(amount, currency)
    make(server).create_session(replace(REQUEST, amount=money))
    sent = server.requests[0].json["amount"]

    assert sent == {"currency": currency, "value": value}
    assert read_one(item(amount=sent)).captured == money


def test_an_amount_that_adyen_cannot_express_is_not_sent(server: AdyenServer) -> None:
    """Never rounded: 10.50 rupiah have no place in Adyen's table."""
    with pytest.raises(GatewayRejected):
        make(server).create_session(replace(REQUEST, amount=Money("10.50", "IDR")))

    assert server.requests == []


def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_key(server: AdyenServer) -> None:
    """A timeout after the effect opens no second session."""
    server.script(Answer.lost())
    session = make(server).create_session(REQUEST)

    assert [call.key for call in server.requests] == [REQUEST.idempotency_key] * 2
    assert list(server.sessions) == [session.gateway_reference]


@pytest.mark.parametrize("answer", [Answer.busy("1", 429), Answer.error(500), Answer.error(503)])
def test_a_busy_gateway_is_asked_again(server: AdyenServer, answer: Answer) -> None:
    """Too many requests, or broken: the same key may be tried again."""
    server.script(answer)

    assert make(server).create_session(REQUEST).gateway_reference


def test_a_request_that_is_still_worked_on_is_no_refusal(server: AdyenServer) -> None:
    """Error 704 says that the first try is in progress: the outcome is unknown."""
    server.script(Answer.json({"status": 422, "errorCode": "704", "errorType": "validation"}, 422))

    with pytest.raises(GatewayUnavailable):
        make(server).create_session(REQUEST)


def test_wrong_credentials_are_our_mistake_and_repeat_no_secret(server: AdyenServer) -> None:
    """The error has Adyen's code; neither it nor the gateway shows a key."""
    ours = make(server, api_key="another-secret")
    with pytest.raises(GatewayRejected) as caught:
        ours.create_session(REQUEST)

    assert caught.value.code == "000"
    assert "another-secret" not in repr(caught.value) + str(caught.value) + repr(ours)
    assert KEY not in repr(ours)


@pytest.mark.parametrize("data", [{}, {"id": "CS1"}, {"url": "https://x"}, {"id": 1, "url": 2}])
def test_an_answer_without_a_session_leaves_the_outcome_open(server: AdyenServer, data: dict[str, Any]) -> None:
    """Nothing is known, so nothing is told."""
    server.script(Answer.json(data, 201))

    with pytest.raises(GatewayUnavailable):
        make(server).create_session(REQUEST)


def test_a_payment_page_elsewhere_is_refused(server: AdyenServer) -> None:
    """The shopper is sent to Adyen only."""
    server.script(Answer.json({"id": "CS1", "url": "https://adyen.example/"}, 201))

    with pytest.raises(GatewayUnavailable):
        make(server).create_session(REQUEST)


@needs_spec
def test_the_payment_pages_of_adyens_examples_are_known() -> None:
    """The address of the official example passes the allow-list."""
    url = CHECKOUT["components"]["examples"]["post-paymentLinks-basic-201"]["value"]["url"]

    assert make().check_payment_url(url) == url


# --- Options.


def test_test_and_live_have_their_own_addresses() -> None:
    """A prefix makes it live."""
    live = make(live_prefix="1797a841fbb37ca7-Shop")

    assert make().client.base == "https://checkout-test.adyen.com/v71"
    assert live.client.base == "https://1797a841fbb37ca7-Shop-checkout-live.adyenpayments.com/checkout/v71"
    assert (make().test_mode, live.test_mode) == (True, False)


@pytest.mark.parametrize("options", [{"product": "dropin"}, {"hmac_keys": ["my secret"]}, {"hmac_keys": ["abc"]}])
def test_bad_options_are_refused_at_start(options: dict[str, Any]) -> None:
    """Without repeating a key."""
    with pytest.raises(ValueError, match=r"product|hexadecimal") as caught:
        make(**options)
    assert "my secret" not in str(caught.value)


@pytest.mark.parametrize("keys", [[], [""], "", lambda: []])
def test_no_key_is_no_open_door(keys: Any) -> None:
    """Said at start."""
    with pytest.raises(ImproperlyConfigured):
        make(hmac_keys=keys)


# --- Proving a callback.


@pytest.mark.skipif(not VECTORS, reason="no vectors.json: name its folder in GATEWAYPAY_SHARED")
def test_vectors_that_others_wrote_are_judged_alike() -> None:
    """Signatures of Adyen's own SDK tests are accepted, and a changed amount is not."""
    for vector in VECTORS:
        body = {"live": "false", "notificationItems": [{"NotificationRequestItem": vector["item"]}]}
        changed = json.loads(json.dumps(body))
        changed["notificationItems"][0]["NotificationRequestItem"]["amount"]["value"] = 1
        requests = [CallbackRequest({}, json.dumps(one).encode()) for one in (body, changed)]

        assert [refused(one, hmac_keys=[vector["secret"]]) for one in requests] == [not vector["valid"], True]


def test_the_raw_primitive_is_the_one_of_adyens_java_library() -> None:
    """Base64 of HMAC-SHA256 under the decoded key: the value that Adyen publishes."""
    key = bytes.fromhex("9064450A8892A093D9E97EFCC9639DE31B74F3A7803135555A3C96F5A57915D6")
    digest = base64.b64encode(hmac.new(key, b"TestPayload", hashlib.sha256).digest())

    assert digest == b"YA9/UDjldIO4Gq68X4ATYYoEaPYH4f4k2uzBBzEF1PA="


@pytest.mark.parametrize("reference", [OUR_ID, "a/b", "a\\b", "a:b", "é€", ""])
def test_we_and_adyens_sdk_verify_the_same(reference: str) -> None:
    """What the SDK signs we accept, what we accept the SDK accepts; a changed item, neither."""
    request = signed(item(merchantReference=reference, originalReference="8313547924770610"))
    body = json.loads(request.body)
    forged = json.loads(request.body)
    forged["notificationItems"][0]["NotificationRequestItem"]["success"] = "false"

    assert not refused(request)
    assert is_valid_hmac_notification(body, KEY) is True
    assert refused(CallbackRequest({}, json.dumps(forged).encode()))
    assert is_valid_hmac_notification(forged, KEY) is False


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("damage", ["hmacSignature", "additionalData", "amount"])
def test_every_item_is_proved(place: int, damage: str) -> None:
    """One bad item spoils the callback, wherever it stands (the SDK looks at the first alone)."""
    body = json.loads(signed(item(), item("CAPTURE"), item("REFUND")).body)
    one = body["notificationItems"][place]["NotificationRequestItem"]
    if damage == "hmacSignature":
        one["additionalData"]["hmacSignature"] = base64.b64encode(b"x" * 32).decode()
    else:
        del one[damage]

    assert refused(CallbackRequest({}, json.dumps(body).encode()))


@pytest.mark.parametrize("field", ["pspReference", "merchantAccountCode", "merchantReference", "eventCode", "success"])
def test_every_signed_field_counts(field: str) -> None:
    """Whichever is changed, the signature falls."""
    body = json.loads(signed(item()).body)
    body["notificationItems"][0]["NotificationRequestItem"][field] = "x"

    assert refused(CallbackRequest({}, json.dumps(body).encode()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"notificationItems": []}',
        b'{"notificationItems": {}}',
        b'{"notificationItems": [1]}',
        b'{"notificationItems": [{}]}',
        b'{"notificationItems": [{"NotificationRequestItem": []}]}',
        b'{"notificationItems": [{"NotificationRequestItem": {"additionalData": {"hmacSignature": 5}, "amount": {}}}]}',
        '{"notificationItems": [{"NotificationRequestItem": {"additionalData": {"hmacSignature": "é"},"amount":{}}}]}',
    ],
)
def test_a_body_that_proves_nothing_is_refused(body: Any) -> None:
    """Without a crash."""
    assert refused(CallbackRequest({}, body if isinstance(body, bytes) else body.encode()))


def test_every_key_in_force_verifies() -> None:
    """During a rotation the old and the new key both count; a retired one does not."""
    request = signed(item(), key=OLD_KEY)

    assert not refused(request, hmac_keys=[KEY, OLD_KEY])
    assert not refused(request, hmac_keys=lambda: [OLD_KEY])
    assert refused(request)


@pytest.mark.parametrize(
    ("header", "bad"), [("Basic dXNlcjpwYXNz", False), ("Basic dXNlcjpwYXNzIQ==", True), ("", True), ("é", True)]
)
def test_basic_authentication_is_asked_for_on_top(header: str, bad: bool) -> None:
    """Where the host has set it, a good signature alone is not enough."""
    request = replace(signed(item()), headers={"Authorization": header})

    assert refused(request, basic_auth=("user", "pass")) is bad


# --- Reading a callback.


@pytest.mark.parametrize(
    ("event", "success", "state"),
    [
        ("AUTHORISATION", "true", State.SUCCESS),
        ("AUTHORISATION", "false", State.PENDING),
        ("CAPTURE", "true", State.SUCCESS),
        ("CAPTURE", "false", None),
        ("CAPTURE_FAILED", "true", State.FAILED),
        ("CANCELLATION", "true", State.CANCELED),
        ("CANCELLATION", "false", None),
        ("TECHNICAL_CANCEL", "true", State.CANCELED),
        ("EXPIRE", "true", State.EXPIRED),
        ("OFFER_CLOSED", "true", State.EXPIRED),
        ("REFUND", "true", None),
        ("CHARGEBACK", "true", None),
        ("PENDING", "true", None),
        ("A_WORD_OF_TOMORROW", "true", None),
    ],
)
def test_every_event_is_read_as_the_docs_say(event: str, success: str, state: State | None) -> None:
    """An unknown word is data; what happened stays readable for staff."""
    update = read_one(item(event, success))

    assert (update.state, update.transaction_id) == (state, OUR_ID)
    assert update.event_id == f"QFQTPCQ8HXSKGK82:{event}:{success}"
    assert update.captured == (REQUEST.amount if state is State.SUCCESS else None)
    assert update.raw["eventCode"] == event


OFFICIAL = {
    "AUTHORISATION": State.SUCCESS,
    "CAPTURE": State.SUCCESS,
    "CAPTURE_FAILED": State.FAILED,
    "CANCELLATION": State.CANCELED,
    "TECHNICAL_CANCEL": State.CANCELED,
    "EXPIRE": State.EXPIRED,
    "OFFER_CLOSED": State.EXPIRED,
    "CANCEL_OR_REFUND": State.CANCELED,
    "REFUND": RefundState.FAILED,
    "REFUND_FAILED": RefundState.FAILED,
    "REFUNDED_REVERSED": RefundState.FAILED,
    "CHARGEBACK": "disputed",
    "NOTIFICATION_OF_CHARGEBACK": "disputed",
    "CHARGEBACK_REVERSED": "dispute_reversed",
}


@pytest.mark.skipif(not EXAMPLES, reason="no specs/ of Adyen: name its folder in GATEWAYPAY_SHARED")
def test_adyens_own_examples_are_understood() -> None:
    """Each of the fourteen, signed as Adyen would."""
    read = {}
    for event, example in EXAMPLES.items():
        request = signed(*(one["NotificationRequestItem"] for one in example["notificationItems"]))
        ours = make()
        ours.verify_callback(request)
        (update,) = ours.parse_callback(request)
        told = [update.state, update.refund.state if update.refund else None, *update.flags - {"capture_failed"}]
        (read[event],) = [one for one in told if one is not None]

    assert read == OFFICIAL


def test_a_declined_attempt_is_not_the_end() -> None:
    """The page stays open; its reference must not stand in the way of the attempt that is paid."""
    update = read_one(item(success="false", reason="Not enough balance"))

    assert (update.state, update.decline_code) == (State.PENDING, "insufficient_funds")
    assert update.payment_reference == ""


def test_decline_codes_are_the_standard_words() -> None:
    """Every reason is mapped into the shared vocabulary; an unknown one is a plain decline."""
    assert set(adyen_wire.DECLINES.values()) <= DECLINE_CODES
    assert read_one(item(success="false", reason="Never heard of")).decline_code == "declined"


@pytest.mark.parametrize(
    ("fields", "reference"),
    [({}, "QFQTPCQ8HXSKGK82"), ({"originalReference": "9913140798220028"}, "9913140798220028")],
)
def test_the_payments_reference_is_the_original_one(fields: dict[str, str], reference: str) -> None:
    """Modifications name the payment that they change."""
    assert read_one(item(**fields)).payment_reference == reference


@pytest.mark.parametrize(
    ("event", "success", "state"),
    [
        ("REFUND", "true", RefundState.SUCCEEDED),
        ("REFUND", "false", RefundState.FAILED),
        ("REFUND_FAILED", "true", RefundState.FAILED),
        ("REFUNDED_REVERSED", "true", RefundState.FAILED),
    ],
)
def test_a_refunds_news_name_the_refund(event: str, success: str, state: RefundState) -> None:
    """Its own reference, its amount; no state of the payment."""
    update = read_one(item(event, success, pspReference="R1", originalReference="P1"))

    assert update.refund == RefundUpdate(refund_reference="R1", state=state, amount=REQUEST.amount)
    assert (update.state, update.payment_reference) == (None, "P1")


@pytest.mark.parametrize(("action", "canceled", "refunded"), [("cancel", 1, 0), ("refund", 0, 1), ("", 0, 0)])
def test_a_reversal_says_what_it_was(action: str, canceled: int, refunded: int) -> None:
    """CANCEL_OR_REFUND is one or the other."""
    update = read_one(item("CANCEL_OR_REFUND", additionalData={"modification.action": action}))

    assert (update.state is State.CANCELED, update.refund is not None) == (bool(canceled), bool(refunded))


@pytest.mark.parametrize(
    ("event", "success", "flag"),
    [
        ("CHARGEBACK", "true", "disputed"),
        ("NOTIFICATION_OF_CHARGEBACK", "true", "disputed"),
        ("CHARGEBACK_REVERSED", "true", "dispute_reversed"),
        ("CAPTURE_FAILED", "true", "capture_failed"),
        ("CAPTURE", "false", "capture_failed"),
        ("CANCELLATION", "false", "cancel_failed"),
    ],
)
def test_what_staff_must_see_is_flagged(event: str, success: str, flag: str) -> None:
    """A flag moves nothing."""
    assert read_one(item(event, success)).flags == {flag}


def test_each_item_is_an_update_of_its_own() -> None:
    """With an event id of its own."""
    updates = make().parse_callback(signed(item(), item("CAPTURE", pspReference="C1")))

    assert [one.event_id for one in updates] == ["QFQTPCQ8HXSKGK82:AUTHORISATION:true", "C1:CAPTURE:true"]


def test_another_account_or_platform_matches_nothing() -> None:
    """A company's key may sign for several accounts, and for both platforms; theirs is not ours."""
    strangers = make().parse_callback(signed(item(merchantAccountCode="Other")))
    strangers += make().parse_callback(signed(item(), live="true"))
    strangers += make(live_prefix="x").parse_callback(signed(item()))

    assert [(one.transaction_id, one.gateway_reference, one.state) for one in strangers] == [("", "", None)] * 3
    assert make(live_prefix="x").parse_callback(signed(item(), live="true"))[0].transaction_id == OUR_ID


@pytest.mark.parametrize(
    "amount",
    [{"value": None, "currency": "EUR"}, {"value": "x", "currency": "EUR"}, {"value": 1.5, "currency": "EUR"}, {}, 5],
)
def test_an_amount_that_cannot_be_read_is_no_amount(amount: Any) -> None:
    """The core then holds the payment for review."""
    body = {"live": "false", "notificationItems": [{"NotificationRequestItem": item(amount=amount)}]}
    (update,) = make().parse_callback(CallbackRequest({}, json.dumps(body).encode()))

    assert (update.state, update.captured) == (State.SUCCESS, None)


def test_nothing_personal_is_kept() -> None:
    """The reason of a good authorization holds card digits, additional data names and addresses."""
    more = {"shopperEmail": "a@b.example", "cardSummary": "1111"}
    update = read_one(item(reason="087330:1111:03/2030", additionalData=more))

    assert "1111" not in json.dumps(dict(update.raw))
    assert "a@b.example" not in json.dumps(dict(update.raw))


def test_a_callback_that_is_no_callback_is_malformed() -> None:
    """Parsing alone also says so."""
    with pytest.raises(MalformedCallback):
        make().parse_callback(CallbackRequest({}, b"{}"))


def test_a_callback_is_answered_as_adyen_wants() -> None:
    """In square brackets."""
    assert make().callback_response() == ("[accepted]", "text/plain")


# --- Afterwards.


@pytest.mark.parametrize("product", ["sessions", "link"])
def test_an_authorization_is_let_go(server: AdyenServer, product: str) -> None:
    """Adyen only takes the order; the funds stay reserved until the callback."""
    update = make(server, product=product).cancel_payment(PAID, idempotency_key="gatewaypay-1-release")
    (call,) = server.requests

    assert call.path == "/payments/QFQTPCQ8HXSKGK82/cancels"
    assert call.json == {"merchantAccount": ACCOUNT, "reference": OUR_ID}
    assert update.state is State.AUTHORIZED


def test_a_hosted_page_ends_by_itself(server: AdyenServer) -> None:
    """There is nothing to call, and nothing is pretended."""
    update = make(server).cancel_payment(replace(PAID, payment_reference=""), idempotency_key="k")

    assert (update.state, server.requests) == (State.PENDING, [])


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("active", State.CANCELED),
        ("completed", State.PROCESSING),
        ("paid", State.PROCESSING),
        ("paymentPending", State.PROCESSING),
        ("expired", State.CANCELED),
        ("new word", None),
    ],
)
def test_a_link_is_closed_unless_somebody_was_faster(server: AdyenServer, status: str, state: State | None) -> None:
    """A paid link cannot be closed; its callback is on the way."""
    ours = make(server, product="link")
    session = ours.create_session(REQUEST)
    server.set_status(session.gateway_reference, status)
    ref = replace(PAID, gateway_reference=session.gateway_reference, payment_reference="")

    assert ours.cancel_payment(ref, idempotency_key="k").state is state


def test_capture_and_refund_are_submitted(server: AdyenServer) -> None:
    """With our id as reference, under the caller's key, and no state that Adyen has not told."""
    ours = make(server)
    captured = ours.capture(PAID, idempotency_key="k" * 65)
    refund = ours.refund(RefundRequest(payment=PAID, amount=Money("5", "EUR"), idempotency_key="gatewaypay-2"))
    first, second = server.requests

    assert captured.state is State.AUTHORIZED
    assert (first.path, len(first.key)) == ("/payments/QFQTPCQ8HXSKGK82/captures", 64)
    assert (second.path, second.key) == ("/payments/QFQTPCQ8HXSKGK82/refunds", "gatewaypay-2")
    assert second.json["amount"] == {"currency": "EUR", "value": 500}
    assert (refund.state, refund.amount) == (RefundState.SUBMITTED, Money("5", "EUR"))
    assert refund.refund_reference in server.sessions


def test_a_refund_without_a_reference_is_unknown(server: AdyenServer) -> None:
    """It could not be recognised again in its callback."""
    server.script(Answer.json({"status": "received"}, 201))

    with pytest.raises(GatewayUnavailable):
        make(server).refund(RefundRequest(payment=PAID, amount=Money("5", "EUR"), idempotency_key="k"))
