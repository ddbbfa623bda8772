"""Head to head: this package and its rivals under the same attacks."""
