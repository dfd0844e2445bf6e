"""Typed results; each tolerates members that it does not know."""
