"""The container engine: what this machine has of it, building with it, running on it."""
