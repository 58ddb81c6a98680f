"""transformers and peft alone, as a trainer: what docs/add-a-trainer.md describes, at its smallest."""
