"""What ql writes down and reads again, as types: run.json, and what the jobs are asked and answer."""
