"""The net under a refactoring: what the program says and writes today, recorded, to be held against it later."""
