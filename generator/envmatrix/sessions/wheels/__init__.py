"""Wheels that are made fit to publish: their contents, the plan of their repair, and its result."""
