"""A run on disk: prepared, checked, staged, supervised, recorded.

``asked`` (by flags, or a ``job`` file) becomes a ``prepared`` run: planned by ``prepare``, or read back by ``edited/``.
``preflight/`` says whether it can start here; ``launch``, ``both`` and ``resume`` start it, and ``execute`` brings the
``stages`` to their end, ``training/`` first. ``run`` is the manifest, ``results/`` what is made of it afterwards.
"""
