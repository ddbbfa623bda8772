"""The vendors' own API descriptions, where somebody has put them: tests read them and ship none."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("GATEWAYPAY_SHARED") or REPOSITORY.parent / "shared")


def load(name: str) -> Any:
    """A JSON file of the shared folder; the test is skipped where it is absent."""
    file = SHARED / name
    if not file.exists():
        pytest.skip(f"no {name}: name its folder in GATEWAYPAY_SHARED")
    return json.loads(file.read_text(encoding="utf-8"))


def vectors(gateway: str) -> list[dict[str, Any]]:
    """The signature vectors of one gateway."""
    return [one for one in load("vectors.json")["vectors"] if one["gateway"] == gateway]


def decode_form(body: bytes) -> dict[str, Any]:
    """The object that a form with bracketed names means."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body)):
        *path, last = name.replace("]", "").split("[")
        place = root
        for key in path:
            place = place.setdefault(key, {})
        assert last not in place, f"{name} is given twice"
        place[last] = value
    return root


def coerce(value: Any, schema: dict[str, Any]) -> Any:
    """Form values in the JSON types that a schema asks for: forms know text only."""
    kinds = [schema, *schema.get("anyOf", [])]
    if isinstance(value, dict):
        for kind in kinds:
            if kind.get("type") == "array":
                return [coerce(value[key], kind["items"]) for key in sorted(value, key=int)]
        known: dict[str, Any] = {}
        for kind in kinds:
            known |= kind.get("properties", {})
        return {key: coerce(one, known.get(key, {})) for key, one in value.items()}
    return int(value) if schema.get("type") == "integer" and value.lstrip("-").isdigit() else value


def form_errors(spec: dict[str, Any], path: str, body: bytes) -> Iterable[str]:
    """What an OpenAPI 3.0 description has against a form."""
    from openapi_schema_validator import OAS30Validator

    content = spec["paths"][path]["post"]["requestBody"]["content"]
    schema = content["application/x-www-form-urlencoded"]["schema"]
    validator = OAS30Validator({**schema, "components": spec["components"]})
    return [error.message for error in validator.iter_errors(coerce(decode_form(body), schema))]
