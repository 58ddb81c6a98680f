"""What was measured, the scripts that measure it, and those that make pages of it."""
