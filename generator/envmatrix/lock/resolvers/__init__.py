"""Resolvers of packages, one module each."""
