"""Analyses of a library in its cell."""
