"""One verb per file; each exports its click command as `command`."""
