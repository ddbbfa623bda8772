"""A seeded simulation: real views, services, models and tasks; the clock, the wire and the weather are ours.

Everything runs in one process and one thread. One integer decides all that happens, so that a seed
replays: `python -m tests.proof.simulation --seed 123 -v`.
"""
