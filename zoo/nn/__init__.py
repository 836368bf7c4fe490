"""Parts of two-stage detectors, on torch and torchvision.ops."""
