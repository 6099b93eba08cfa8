"""Images in, findings out: everything about cells, and nothing about databases, wires or workflows."""
