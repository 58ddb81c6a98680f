"""What is shown of a run: report.html and the model card, from the manifest alone."""
