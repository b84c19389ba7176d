"""The names of tiers, which are occasions to run some of the cells."""

from __future__ import annotations

# Each has the cells of the one before it.
TIERS = ("pr", "nightly", "weekly")
