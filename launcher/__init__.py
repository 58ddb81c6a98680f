"""ql: plan, render, validate, run, score and merge QLoRA fine-tunes on one GPU."""

__version__ = "0.1.0"
