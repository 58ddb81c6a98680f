"""From a file of rows to the tokens that are trained: formats, bad rows, chat templates, lengths, the split."""
