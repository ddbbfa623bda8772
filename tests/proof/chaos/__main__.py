"""One run by hand: `python -m tests.proof.chaos '{"seed": 1, "payments": 150, ...}'`; see `part.shape`."""

import json
import sys

from .part import run_chaos

__all__ = ["main"]


def main() -> None:
    """Run it, print what came out; end with 1 when something was wrong."""
    result = run_chaos(json.loads(sys.argv[1]), lambda share: None)
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["violations"] else 0)


if __name__ == "__main__":
    main()
