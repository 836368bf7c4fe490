"""Compiled kernels of the official metrics. They see flat arrays only; the modules beside this folder call them."""
