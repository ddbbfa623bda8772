"""What comes in is checked here; what goes out is built here, field by field."""

from .shopper import (
    InitiateSerializer,
    allowed_origins,
    initiated,
    is_allowed_return,
    public_status,
    websocket_path,
)
from .staff import (
    BrowseSerializer,
    CaptureSerializer,
    NothingSerializer,
    ReasonSerializer,
    RefundSerializer,
    capture_fields,
    refund_fields,
    transaction_details,
    transaction_fields,
    write_cursor,
)
from .strict import timestamp

__all__ = [
    "BrowseSerializer",
    "CaptureSerializer",
    "InitiateSerializer",
    "NothingSerializer",
    "ReasonSerializer",
    "RefundSerializer",
    "allowed_origins",
    "capture_fields",
    "initiated",
    "is_allowed_return",
    "public_status",
    "refund_fields",
    "timestamp",
    "transaction_details",
    "transaction_fields",
    "websocket_path",
    "write_cursor",
]
