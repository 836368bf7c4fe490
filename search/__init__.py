"""Trees, search spaces, proposers, studies and splits: the search for the best way to fuse."""
