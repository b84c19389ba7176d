"""One module for each step that the schema took, in order."""
