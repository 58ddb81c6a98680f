"""ql's own torch jobs (`launcher.worker`), run under the trainer's python."""
