"""``python -m launcher`` is ``ql``."""

from launcher.cli.main import main

if __name__ == "__main__":
    main(prog_name="ql")
