"""What things cost by the rules of design section 2.2 and `wse/isa.py`: the terms from which kernels predict their cycles."""

from __future__ import annotations

import math

from wse.isa import OP_CLASS, Op, OpClass, Type
from wse.spec import MachineSpec


def issue_wait(spec: MachineSpec) -> int:
    """Cycles between the end of an instruction and the first beat the next one could have."""
    return spec.issue_cycles - 1


def pass_cycles(spec: MachineSpec, hops: int) -> int:
    """Cycles from the beat that sends a wavelet to the first beat that can consume it, `hops` routers away.

    2T + 1 + hops with the constants of arXiv 2404.15888; beats of one cycle.
    """
    return 1 + spec.ramp_out_cycles + hops * spec.hop_cycles + spec.ramp_in_cycles


def vector_cycles(spec: MachineSpec, op: Op, *extents: int, type: Type | None = None) -> int:
    """A vector operation on memory and registers alone, from its issue to its end; `type` as the operation has it."""
    num = math.prod(extents)
    return issue_wait(spec) + _beats(spec, op, num, type) if num else spec.issue_cycles


def mapped_cycles(spec: MachineSpec, op: Op, steps: int, inner: int, type: Type | None = None) -> int:
    """A mapped operation of `steps` outer steps on `inner` elements each, from its issue to its end."""
    return issue_wait(spec) + steps * (_beats(spec, op, inner, type) + spec.map_step_cycles)


def wavelets(num: int, type: Type | None = None) -> int:
    """Wavelets that `num` elements take when an operation of `type` sends them: two f16 elements go in one."""
    return -(-num // 2) if type == Type.F16 else num


def loop_cycles(spec: MachineSpec, count: int, body: int) -> int:
    """`Pes.loop`: the counter cleared, and advanced and compared after each body."""
    control = count * vector_cycles(spec, Op.ADD, 1) + (count - 1) * spec.branch_taken_cycles + spec.branch_not_taken_cycles
    return vector_cycles(spec, Op.MOV, 1) + count * body + control


def _beats(spec: MachineSpec, op: Op, num: int, type: Type | None) -> int:
    """Cycles of the beats on `num` elements."""
    f16 = type == Type.F16
    lanes, cycles = {
        OpClass.MOVE: (spec.move_f16_lanes, spec.move_f16_cycles) if f16 else (spec.move_lanes, spec.move_cycles),
        OpClass.ADD: (spec.add_f16_lanes, spec.add_f16_cycles) if f16 else (spec.add_lanes, spec.add_cycles),
        OpClass.FMA: (spec.fma_f16_lanes, spec.fma_f16_cycles) if f16 else (spec.fma_lanes, spec.fma_cycles),
        OpClass.SPECIAL: (1, spec.special_cycles),
    }[OP_CLASS[op]]
    return -(-num // lanes) * cycles
