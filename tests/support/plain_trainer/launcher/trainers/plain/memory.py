"""What every plain run of transformers takes."""

from launcher.sizing import MemoryTerms

MEMORY = MemoryTerms()
