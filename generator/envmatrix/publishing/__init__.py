"""Images and their attestations in a registry."""
