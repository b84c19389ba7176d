"""Everything that runs in cells came to: recorded, kept, compared, reported."""
