"""Annotated smears: reading them, making masks of their boxes, splitting them by patient."""
