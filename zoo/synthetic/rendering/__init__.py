"""Pictures drawn by the project: what is in them, how it is painted, and how it is written down."""
