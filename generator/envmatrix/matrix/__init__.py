"""What was asked for: the matrix file, its cells and the rules that say which can exist."""
