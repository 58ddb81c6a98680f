"""An adapter and its base as one 16-bit checkpoint, streamed, and measured against the model that was trained."""
