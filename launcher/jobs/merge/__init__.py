"""Worker job ``merge``: what was quantised in training, dequantised, with the adapter added, written and verified."""
