"""The mutants that may live, each with the reason: nobody could notice, or a second guard does the same."""

__all__ = ["REVIEWED"]

REVIEWED: dict[str, str] = {}
