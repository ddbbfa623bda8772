"""A sale: a whole shop in real processes, a slow and flaky gateway, and shoppers who do not wait for it."""
