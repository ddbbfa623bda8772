"""Plays one chunk again: `python -m tests.proof.model seed=7 runs=250 steps=50 db=sqlite`."""

import json
import os
import sys

from . import Model


def main() -> None:
    """Run it in the foreground; end with 1 when something is violated."""
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    chunk = {"db": words.pop("db", "sqlite"), **{name: int(value) for name, value in words.items()}}
    os.environ["GATEWAYPAY_TEST_DB"] = str(chunk["db"])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ.setdefault("PYTEST_VERSION", "proof")

    import django

    django.setup()
    result = Model().run(chunk, lambda share: print(f"\r{share:.0%}", end="", file=sys.stderr, flush=True))
    for violation in result["violations"]:
        print(violation["what"])
    print(json.dumps(result["tally"], indent=1, sort_keys=True))
    sys.exit(bool(result["violations"]))


if __name__ == "__main__":
    main()
