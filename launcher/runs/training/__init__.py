"""The stage train: the trainer supervised, and what is mended on its way."""
