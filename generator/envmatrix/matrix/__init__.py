"""The matrix: its files, its cells, and the rules that decide which cells can exist."""
