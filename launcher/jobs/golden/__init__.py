"""Worker job ``golden``: what base, adapter and merged answer to the golden prompts."""
