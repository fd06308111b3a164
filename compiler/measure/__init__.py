"""Measurement: sampling, interleaved comparison, idle detection, core affinity and rooflines."""
