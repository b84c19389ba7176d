"""This machine: configuration, origins and access to servers, the cache directory, programs."""
