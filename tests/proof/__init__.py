"""The proof: every claim of the documentation as a part that runs alone, at two sizes, and reports what it saw."""
