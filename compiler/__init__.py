"""Compiles models for CPUs: ``build`` one, ``load`` a saved one; and what describes that: target, workload, schedule."""

from compiler.schedule import Decision, Program, Schedule, ScheduleSpace
from compiler.target import Target
from compiler.workload import Workload
from compiler.build import build, layers_of
from compiler.runtime import CompiledModel, ProfileRow, load

__all__ = [
    "CompiledModel",
    "Decision",
    "ProfileRow",
    "Program",
    "Schedule",
    "ScheduleSpace",
    "Target",
    "Workload",
    "build",
    "layers_of",
    "load",
]
