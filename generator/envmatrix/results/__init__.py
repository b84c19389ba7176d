"""Results of runs in cells: recorded, stored, compared, reported."""
