"""What is to be reached, by number: the paths, and where a figure is that no bench of ours has."""

__all__ = ["ELSEWHERE", "TARGETS", "WHY"]

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
    "P14": "growth to 1,000,000 payments",
    "load": "a sale on one machine",
    "nodes": "many nodes",
    "weight": "start-up and weight",
}
ELSEWHERE = {
    "P3": "the suite has it: `tests/test_races.py`",
    "P12": "[how fast the admin is](admin-speed.md)",
}
#: What a reader should know of a target that is not met.
WHY = {
    "P1": (
        "The process does less than the floor, as its CPU time says. Over HTTP, the server's own work, the connection "
        "and the commit of PostgreSQL are in everybody's time, and with them every ratio is nearer to 1: how far a "
        "view comes that does one raw statement and nothing else, the table of `http` says."
    ),
    "P2": (
        "The message is kept before anything is done with it, its effect has a line in the ledger and a row in the "
        "outbox, and the host's hook runs in the transaction that marks it delivered. That is four commits and ten "
        "statements, two of them the hook's own; the floor has one commit and three."
    ),
    "P4": (
        "The floor asks nobody who they are, keeps no ledger and calls no gateway. Ours asks the host for its price, "
        "looks for an open payment of the order to join, commits the row and its line before the gateway is called and "
        "again after it, and looks for callbacks that came early. The other figure has a floor with the same call."
    ),
    "P6": (
        "A nudge goes through the host's own channel layer, whichever that is, in the event loop of a thread that "
        "lives as long as the process. The way there and back, and what Channels does around the word, are the rest."
    ),
    "P7": (
        "The raw server repeats what it hears. Ours reads the row for every socket, so that no page shows what the "
        "books do not say; sockets that are nudged while a statement runs share the next one."
    ),
    "P10": (
        "The threads only ask. Ours claims, reads, asks, goes through the door and puts the next question off, in "
        "eight threads whose Python shares one core."
    ),
    "P11": (
        "The one statement closes what nobody has looked at. Ours goes through the door payment by payment, each with "
        "its line, the release that the host is owed, and its hook."
    ),
    "weight": "Half of what is imported is the package's own; most of the rest is the HTTP client of the gateways.",
    "P13": (
        "A time and no ratio, of the machine as much as of the code. Between the 200 and the page lie a task through "
        "the broker, four commits with the host's hook among them, the nudge, and the page's question for its new "
        "screen, in six processes on two cores."
    ),
}
