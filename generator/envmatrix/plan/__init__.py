"""Plans of images: their contents, identities and actions."""
