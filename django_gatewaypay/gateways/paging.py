"""Lists that come in pages, read to their end or not believed."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..exceptions import GatewayUnavailable

__all__ = ["Page", "read_pages"]

Item = TypeVar("Item")
#: The items of a page, None where it is none, and the cursor of the next one, "" after the last.
Page = tuple[Sequence[Item] | None, str]


def read_pages(gateway: str, read: Callable[[str], Page[Item]]) -> Iterator[Item]:
    """Every item of a list.

    Args:
        gateway: the vendor's name.
        read: reads the page behind a cursor, "" for the first.

    Raises:
        GatewayUnavailable: a page is none, or the pages go round in a circle.
    """
    cursor, seen = "", set[str]()
    while cursor not in seen:
        seen.add(cursor)
        items, cursor = read(cursor)
        if items is None:
            break
        yield from items
        if not cursor:
            return
    raise GatewayUnavailable("The list cannot be read to its end.", gateway=gateway, code="no_list")
