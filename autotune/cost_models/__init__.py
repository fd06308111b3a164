"""Cost models: predicted log seconds of schedules."""
