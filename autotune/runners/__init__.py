"""Runners: measure candidate schedules."""
