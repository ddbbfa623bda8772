"""Who is measured: the floors, the rivals, and this package."""
