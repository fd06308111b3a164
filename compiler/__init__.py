"""Loopwright's compiler: targets, workloads, schedules and what becomes of them. Imports no TVM until it needs it."""

from compiler.schedule import Decision, Schedule, ScheduleSpace
from compiler.target import Target
from compiler.workload import Workload

__all__ = ["Decision", "Schedule", "ScheduleSpace", "Target", "Workload"]
