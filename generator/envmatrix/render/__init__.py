"""Rendered texts: bills of materials, provenance, and files for editors and CI."""
