"""Runners measure candidate schedules."""
