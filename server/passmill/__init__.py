"""Passmill: issues, signs, distributes, updates and checks wallet passes."""

__version__ = "0.1.0"
