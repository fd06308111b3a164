"""Compiles models for CPUs: ``build`` one, ``load`` a saved one; and targets, workloads and schedules."""

from compiler.installation import names

names.check(__name__)  # before the imports below, which import kernels

from compiler.build import build, layers_of
from compiler.check.check import CheckFailed
from compiler.program.compiled_model import CompiledModel
from compiler.program.load import load
from compiler.program.profile import ProfileRow
from compiler.program.ranged_model import RangedModel
from compiler.workloads.schedule import Decision, Program, Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

__all__ = [
    "CheckFailed",
    "CompiledModel",
    "Decision",
    "ProfileRow",
    "Program",
    "RangedModel",
    "Schedule",
    "ScheduleSpace",
    "Target",
    "Workload",
    "build",
    "layers_of",
    "load",
]
