"""Proposals for a repository that has no matrix: how its library is built and tested, and the files
that say so. Pure."""
