"""Axolotl: all of it. `describe` says what it can do; the rest is loaded when it is asked for."""
