"""Registries of images: manifests, and a client of the OCI distribution API."""
