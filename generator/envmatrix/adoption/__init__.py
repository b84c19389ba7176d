"""Proposals for a repository that has no matrix: how its library is built and tested, what the CI
matrix of another tool is as one of ours, and the files that say so. Pure."""
