"""One piece of a part, in a process of its own: `python -m tests.proof.chunk PART RESULT.json < chunk.json`."""

import json
import os
import sys
import time
from pathlib import Path

from .frame import commit, machine

__all__ = ["main"]


def main() -> None:
    """Run the piece; progress goes to standard output, the result into the file, whole or not at all."""
    name, target = sys.argv[1], Path(sys.argv[2])
    work = json.load(sys.stdin)
    os.environ["GATEWAYPAY_TEST_DB"] = str(work.get("db", "sqlite"))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    # The settings of the suite start their servers only for a test run, and this is one.
    os.environ.setdefault("PYTEST_VERSION", "proof")

    import django

    django.setup()
    from .parts import find

    said, began = {"commit": commit(), "machine": machine(), "began": round(time.time())}, time.monotonic()
    result = find(name).run(work, lambda share: print(f"share {share:.4f}", flush=True))
    said |= {"chunk": work, "result": result, "seconds": round(time.monotonic() - began, 1)}
    half = target.with_suffix(".half")
    half.write_text(json.dumps(said, indent=1))
    half.replace(target)


if __name__ == "__main__":
    main()
