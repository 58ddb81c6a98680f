"""ql's own torch jobs, all of the torch side: run under the trainer's python by `launcher.jobs.worker`."""
