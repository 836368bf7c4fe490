"""Data that is made: rendered pictures (`rendered.py`), and ground truth with simulated members (`simulated.py`)."""
