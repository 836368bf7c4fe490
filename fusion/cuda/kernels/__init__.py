"""Device code of the fusion operators; see `fusion.cuda`."""
