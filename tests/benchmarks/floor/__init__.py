"""The floor: the least that a careful hand would write for the same paths, in two tables."""
