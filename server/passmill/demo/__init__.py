"""The demonstration: a recipients file becomes signed passes, checked by others' tools."""
