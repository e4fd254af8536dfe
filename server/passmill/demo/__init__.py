"""The demonstration: a recipients file becomes signed passes, checked by others' tools."""

from passmill.demo.demo import run

__all__ = ["run"]
