"""Checkpoints: atomic saving, manifest with hashes, retention, and which files are safe to load."""
