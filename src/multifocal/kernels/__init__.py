"""Compiled loops, for what would take NumPy or torch many passes. Modules here load when they are first needed."""
