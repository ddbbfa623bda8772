"""Figures that the documentation gives, and the commands that make them."""
