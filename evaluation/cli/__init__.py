"""The commands of package `evaluation`, a file per kind of work."""
