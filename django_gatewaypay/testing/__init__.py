"""What adapters and hosts test with. Shipped, documented, and used by our own suite."""
