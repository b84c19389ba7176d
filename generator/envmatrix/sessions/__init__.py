"""What is done with a library in a cell: compile, test, measure."""
