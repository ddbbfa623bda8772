"""What a client of the API does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from django_gatewaypay.models import Transaction
from django_gatewaypay.services import access

Post = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries do not sleep."""
    monkeypatch.setattr("django_gatewaypay.gateways.http.time.sleep", lambda _: None)


@pytest.fixture
def initiate(client: Client) -> Post:
    """`POST initiate/` with JSON from the test's client, or from another one."""

    def post(body: Any, *, by: Client = client, url: str = "/payments/initiate/", **headers: str) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        # generic(), because post() would encode the bytes by the charset of the content type.
        return by.generic("POST", url, content, named.pop("Content-Type", "application/json"), headers=named)

    return post


def bearer(row: Transaction) -> dict[str, str]:
    """The header of whoever holds a transaction's token."""
    return {"Authorization": f"Bearer {access.mint_token(row.pk)}"}


def problem(response: Any, status: int, code: str = "") -> dict[str, Any]:
    """The problem document of a refusal."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    said = dict(response.json())
    assert said["status"] == status
    assert {"type", "title", "detail", "code"} <= said.keys()
    assert not code or said["code"] == code
    return said
