"""What is made of a run: its summary, report, model cards and comparison; its models scored, served, uploaded."""
