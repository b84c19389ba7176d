"""Sessions of a library in a cell: compile, test, measure, analyse."""
