"""What is known of every instruction before it runs: lanes, cycles, bytes, and which ways of running it are open."""

from __future__ import annotations

import numpy as np

from wse.engine.state import Plan
from wse.isa import FIFO_KINDS, FLOPS, NUM_COLS, OP_CLASS, RECEIVES, SENDS, TYPE_BYTES, VECTOR_OPS, Col, Kind, Op, OpClass, Operand, Type
from wse.program import Program, class_rows
from wse.spec import MachineSpec


def plan_instructions(program: Program, spec: MachineSpec) -> np.ndarray:
    """What is known of every instruction before it runs. Where it goes on and where it was written do not matter."""
    keys = np.concatenate([program.code, _smallest_fifos(program)], axis=1)
    keys[:, [Col.DONE, Col.TASK, Col.TARGET, Col.LINE]] = 0
    _, first, which = np.unique(keys.view(np.dtype((np.void, keys.shape[1] * keys.itemsize))), return_index=True, return_inverse=True)
    plan = _plan_rows(keys[first, :NUM_COLS], keys[first, NUM_COLS:], spec)[which.reshape(-1)]
    plan[:, Plan.PRIVATE] = _private(program, plan)
    return plan


def _plan_rows(code: np.ndarray, capacity: np.ndarray, spec: MachineSpec) -> np.ndarray:
    """`plan_instructions` for rows of code and what `_smallest_fifos` says of them, but for PRIVATE."""
    plan = np.zeros((len(code), len(Plan)), np.int64)
    for i, row in enumerate(code):
        op, type = Op(row[Col.OP]), Type(row[Col.TYPE])
        if op not in VECTOR_OPS:
            plan[i, Plan.MARKED] = op is Op.PRINT
            continue
        operands = (Col.D, Col.A, Col.B)
        kinds = [Kind(row[operand + Operand.KIND]) for operand in operands]
        sizes = [
            TYPE_BYTES[Type(row[operand + Operand.TYPE])] if kind is Kind.MEM or kind in FIFO_KINDS else 0
            for operand, kind in zip(operands, kinds, strict=True)
        ]
        packed = [kind in RECEIVES | SENDS and row[o + Operand.TYPE] == Type.F16 for o, kind in zip(operands, kinds, strict=True)]
        streams = [half for half, kind in zip(packed, kinds, strict=True) if kind is Kind.FABRIC_IN or kind in SENDS]
        odd = any(packed) or bool(FIFO_KINDS & set(kinds)) or Kind.CONTROL_OUT in kinds
        in_memory = [kind is Kind.MEM for kind in kinds]
        can_conflict = spec.bank_conflicts and in_memory[0] and (in_memory[1] or in_memory[2])
        mapped, op_class = bool(row[Col.MAPPED]), OP_CLASS[op]
        lanes, cycles = _lanes_and_cycles(spec, op_class, type)
        plan[i, Plan.CLASS] = op_class
        plan[i, Plan.LANES] = min([lanes, *(capacity[i, n] for n, kind in enumerate(kinds) if kind in FIFO_KINDS)])
        plan[i, Plan.CYCLES] = cycles
        plan[i, Plan.GAP] = spec.map_step_cycles if mapped else 0
        plan[i, Plan.HELD] = 1 if kinds[1] is Kind.FABRIC_HELD else 2 if kinds[2] is Kind.FABRIC_HELD else 0
        plan[i, [Plan.PACKED_D, Plan.PACKED_A, Plan.PACKED_B]] = packed
        if streams:
            plan[i, Plan.PER_WAVELET] = 2 if all(streams) else 1
            plan[i, Plan.LANES] = min(plan[i, Plan.LANES], plan[i, Plan.PER_WAVELET])
        steady = not (type is Type.I32 and op in (Op.DIV, Op.MOD)) and not can_conflict
        steady &= not (FIFO_KINDS | {Kind.CONTROL_OUT}) & set(kinds)
        plan[i, Plan.STREAMS] = bool(streams) and not mapped and steady
        plan[i, Plan.BULKS] = not streams and steady
        plan[i, Plan.ODD] = odd
        plan[i, Plan.FLOPS] = FLOPS[op] if type is not Type.I32 else 0
        plan[i, Plan.READ_BYTES] = sizes[1] + sizes[2] + (sizes[0] if op is Op.FMAC else 0)
        plan[i, Plan.WRITE_BYTES] = sizes[0]
        extents = row[Col.EXTENT : Col.EXTENT + 4]
        registers = [*row[Col.EXTENT_REG : Col.EXTENT_REG + 4]]
        registers += [row[operand + Operand.OFFSET_REG] for operand, held in zip(operands, in_memory, strict=True) if held]
        plan[i, Plan.STATIC] = max(registers) < 0
        plan[i, Plan.NUM] = num = int(np.prod(extents))
        plan[i, Plan.STEP] = max(1, int(extents[3]) if mapped else num)
        in_sram = [size if held else 0 for size, held in zip(sizes, in_memory, strict=True)]
        plan[i, Plan.REACH] = _reach(row, extents, in_sram) if num else 0
    return plan


def _lanes_and_cycles(spec: MachineSpec, op_class: OpClass, type: Type) -> tuple[int, int]:
    """Elements and cycles of a beat."""
    if op_class is OpClass.SPECIAL:
        return 1, spec.special_cycles
    if type is Type.MIXED:
        return spec.fma_mixed_lanes, spec.fma_mixed_cycles
    name = {OpClass.MOVE: "move", OpClass.ADD: "add", OpClass.FMA: "fma"}[op_class] + ("_f16" if type is Type.F16 else "")
    return getattr(spec, f"{name}_lanes"), getattr(spec, f"{name}_cycles")


def _smallest_fifos(program: Program) -> np.ndarray:
    """Capacity of the FIFO in SRAM that each operand (d, a, b) of each instruction names; rows that classes share name equal ones."""
    capacity = np.zeros((len(program.code), 3), np.int64)
    for cls in program.classes:
        if cls.fifos:
            for i in class_rows(program.code, cls.task_entry):
                for n, operand in enumerate((Col.D, Col.A, Col.B)):
                    if program.code[i, operand + Operand.KIND] in FIFO_KINDS:
                        capacity[i, n] = cls.fifos[program.code[i, operand + Operand.BASE]].capacity
    return capacity


def _reach(row: np.ndarray, extents: np.ndarray, sizes: list[int]) -> int:
    """Bytes of SRAM that the memory operands of an instruction need."""
    need = 0
    for operand, size in zip((Col.D, Col.A, Col.B), sizes, strict=True):
        if size:
            steps = (extents - 1) * row[operand + Operand.STRIDE : operand + Operand.STRIDE + 4]
            first = int(row[operand + Operand.BASE]) // size
            if first + int(np.minimum(steps, 0).sum()) < 0:
                return 1 << 40
            need = max(need, size * (first + int(np.maximum(steps, 0).sum()) + 1))
    return need


def _private(program: Program, plan: np.ndarray) -> np.ndarray:
    """Which instructions are: vector operations that cannot fault, as far as can be told before they run, and branches."""
    op = program.code[:, Col.OP]
    divides = (program.code[:, Col.TYPE] == Type.I32) & np.isin(op, (Op.DIV, Op.MOD))
    smallest = min((4 * cls.sram_words for cls in program.classes), default=0)
    safe = (plan[:, Plan.STATIC] == 1) & (plan[:, Plan.REACH] <= smallest) & ~divides
    return np.where(np.isin(op, list(VECTOR_OPS)), safe, (op >= Op.JUMP) & (op <= Op.BNE))


def can_fault(program: Program, plan: np.ndarray) -> bool:
    """Whether some instruction might fault, as far as can be told before it runs."""
    vector = np.isin(program.code[:, Col.OP], list(VECTOR_OPS))
    return bool((vector & (plan[:, Plan.PRIVATE] == 0)).any()) or program.reactive
