"""What the model optimizer gains on labelled data."""
