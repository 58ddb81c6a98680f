"""Golden sets: prompts with right answers, generated, scored, and held against gates."""
