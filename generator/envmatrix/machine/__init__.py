"""This machine: its configuration, where origins are, its cache directory and its programs."""
