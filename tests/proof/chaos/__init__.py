"""Real processes that are killed at random while payments are made: PostgreSQL, Valkey, web, workers, beat."""
