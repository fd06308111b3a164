"""Speed-ups on many threads: measured, simulated on one core, and next to a busy process."""
