"""What is to be reached, by number: the paths, and where a figure is that no bench of ours has."""

__all__ = ["ELSEWHERE", "TARGETS"]

TARGETS = {
    "P1": "callback, up to the 200",
    "P2": "callback, whole path",
    "P3": "many at once",
    "P4": "a payment is started",
    "P5": "status",
    "P6": "a change is announced",
    "P7": "live push to 2,000 sockets",
    "P8": "what is due, in 1,000,000 rows",
    "P9": "claiming what is due",
    "P10": "10,000 polls",
    "P11": "expiry with history",
    "P12": "the admin at 1,000,000 rows",
    "P13": "from the callback to the pixels",
    "load": "a sale on one machine",
    "nodes": "many nodes",
    "weight": "start-up and weight",
}
ELSEWHERE = {
    "P3": "the suite has it: `tests/test_races.py`",
    "P12": "[how fast the admin is](admin-speed.md)",
}
