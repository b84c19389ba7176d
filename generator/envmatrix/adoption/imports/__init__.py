"""Conversion of the CI matrices of other projects to one of ours: the formats that are read, and
what becomes of their jobs. Pure."""
