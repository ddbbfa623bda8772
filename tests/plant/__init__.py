"""A whole shop in real processes: PostgreSQL, Valkey, web, workers, beat. The chaos kills it, the benches load it."""
