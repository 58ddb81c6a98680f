"""Pages that are made from the program: `scripts/make_references.py` writes them, tests/docs holds them."""
