"""Decisions: actions with reasons, changes since another state, publication, garbage."""
