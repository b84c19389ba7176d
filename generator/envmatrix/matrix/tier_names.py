"""The names of tiers, which are occasions to run some of the cells."""

from __future__ import annotations

from typing import Literal, TypeAlias

# The tiers with a budget; the last one has everything.
TierName: TypeAlias = Literal["pr", "nightly"]

# Each has the cells of the one before it.
TIERS = ("pr", "nightly", "weekly")
