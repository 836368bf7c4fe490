"""The sections of a search's page, a file each."""
