"""What default schedules lose under another machine model than that of this CPU."""
