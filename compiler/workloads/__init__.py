"""What is computed and how it is scheduled: operators, workloads, targets, schedules, layers and records."""
