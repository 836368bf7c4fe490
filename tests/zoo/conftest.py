"""One thread for torch: two threads on a busy machine make a step of 0.1 s one of 2 s."""

try:
    import torch
except ImportError:  # the tests that need it say so
    pass
else:
    torch.set_num_threads(1)
