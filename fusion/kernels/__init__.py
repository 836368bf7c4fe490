"""Compiled kernels. They see flat arrays only; the public functions beside this folder call them."""
