"""Members: the detectors whose tables are fused, and the data sets they are measured on."""
