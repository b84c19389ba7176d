"""Files kept by their sha256 on this machine: downloads, mirrors, and the store."""
