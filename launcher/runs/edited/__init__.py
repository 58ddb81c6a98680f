"""A run of a config that a person edited by hand (`ql launch --config`): checked, read back, trained as it is."""
