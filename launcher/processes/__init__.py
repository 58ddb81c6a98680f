"""Child processes: started, watched, stopped, and kept from what they need not know. No trainer is known here."""
