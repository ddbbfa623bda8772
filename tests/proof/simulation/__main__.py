"""Replays one seed: `python -m tests.proof.simulation --seed 123 [-v]`; ends with 1 when something is violated."""

import argparse
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run a seed, or several, and print what came of each."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from --seed on")
    parser.add_argument("--payments", type=int, default=50)
    parser.add_argument("--db", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the event log")
    given = parser.parse_args()
    os.environ["GATEWAYPAY_TEST_DB"] = given.db
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ.setdefault("PYTEST_VERSION", "proof")  # the settings start their servers for a test run only

    import django

    django.setup()
    sys.exit(1 if run(given) else 0)


def run(given: argparse.Namespace) -> int:
    """How many violations there were."""
    from tests.proof.database import empty_database

    from .simulation import simulate

    found = 0
    with empty_database(in_memory=True):
        for seed in range(given.seed, given.seed + given.seeds):
            outcome = simulate(seed, payments=given.payments, tell=print if given.verbose else None)
            counts = f"{outcome.refunds} refunds, {outcome.captures} captures, {sum(outcome.faults.values())} faults"
            print(f"seed {seed}: {counts}, {dict(outcome.states)}, {outcome.digest[:16]}")
            for what in outcome.violations:
                print(f"  VIOLATED {what}")
            found += len(outcome.violations)
    return found


if __name__ == "__main__":
    main()
