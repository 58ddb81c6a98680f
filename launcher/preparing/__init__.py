"""From a request to a run that could start: names, settings, rows, plan, forecast, the trainer's files."""
