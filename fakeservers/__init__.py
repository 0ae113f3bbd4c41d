"""Fake mail servers that take on a provider's manners."""
