"""Trainer configs as text: rendered from a plan, checked by rules, each finding with its line and fix."""
