"""One program for ranges of sizes against programs for single sizes."""
