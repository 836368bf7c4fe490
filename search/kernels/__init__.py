"""Compiled kernels of the search. They see flat arrays only; the modules beside this folder call them."""
