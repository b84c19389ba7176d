"""The names of tiers, which are occasions to run some of the cells."""

from __future__ import annotations

from typing import Literal, TypeAlias

# The tiers with a budget; the last one has everything.
TierName: TypeAlias = Literal["pr", "nightly"]

# Each has the cells of the one before it.
TIERS = ("pr", "nightly", "weekly")
Occasion: TypeAlias = Literal["pr", "nightly", "weekly"]


def has_occasion(tier: str, first: Occasion) -> bool:
    """Return whether a tier has what runs from the tier `first` on."""
    return TIERS.index(tier) >= TIERS.index(first)
