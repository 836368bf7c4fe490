"""Commands of package `zoo`; importing them needs no PyTorch."""
