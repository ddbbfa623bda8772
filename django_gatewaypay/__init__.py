"""Payments for Django: from checkout to a true, final answer."""

__version__ = "0.1.0"
