"""A run on disk: prepared, checked, staged, supervised, recorded."""
