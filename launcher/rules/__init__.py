"""What a rule of the validator is. The rules of a trainer's config are in that trainer's room."""
