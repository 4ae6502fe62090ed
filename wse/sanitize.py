"""Sanitizer: run a program with every memory operand checked, and SRAM that nothing has written full of NaNs.

Found, as errors: a read of what nothing has written (`UnwrittenReadError`), an operand that leaves the array its address is in
(`SymbolBoundsError`), and operations of two threads of a core that share a word while both are under way, one of them writing it
(`SharedWordError`). `wse.races` finds values that depend on time. Slow: operations run beat by beat. Not checked: registers, which hold 0
at load, so that reading one first is defined; and words that tasks use one after another in an order that time decides (see `wse.kahn`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wse.engine.sanitize import Shadow
from wse.engine.state import Clock, Plan, State
from wse.errors import FaultError, SharedWordError, SymbolBoundsError, UnwrittenReadError
from wse.isa import TYPE_BYTES, Col, Fault
from wse.program import CodeClass, Program, Symbol

POISON = 0x7FFA7FFA
"""What words that nothing has written hold: a NaN as f32, two NaNs as f16, as i32 a number that is hard to overlook."""

ERRORS: dict[Fault, type[FaultError]] = {
    Fault.UNWRITTEN: UnwrittenReadError,
    Fault.OUT_OF_SYMBOL: SymbolBoundsError,
    Fault.SHARED_WORD: SharedWordError,
}


@dataclass(frozen=True)
class Sanitizer:
    """How to sanitize. `timing_seed`: start every operation 0 to 15 cycles late, as drawn from it; 0 for the machine's own timing."""

    timing_seed: int = 0


def switch_on(program: Program, state: State, sanitizer: Sanitizer) -> State:
    """The state of a machine just loaded, with checks on, and poison where there is no data."""
    state.plan[:, [Plan.STREAMS, Plan.BULKS, Plan.PRIVATE]] = 0
    state.clock[Clock.SANITIZE], state.clock[Clock.TIMING_SEED] = 1, sanitizer.timing_seed
    shadow = np.zeros((2 * len(state.sram), len(Shadow)), np.int64)
    for index, cls in enumerate(program.classes):
        pattern = _pattern(cls)
        poisoned = pattern[::2, Shadow.WRITTEN] == 0
        for first in program.core_sram[program.core_class == index]:
            shadow[2 * first : 2 * (first + cls.sram_words)] = pattern
            state.sram[first : first + cls.sram_words][poisoned] = POISON
    # a fault must stop everything at once, so parts cannot run one after another
    return state._replace(shadow=shadow, part_start=state.part_start[[0, -1]].copy())


def note_written(state: State, first_byte: int, num_bytes: int) -> None:
    """The host has written bytes of SRAM."""
    if len(state.shadow):
        state.shadow[first_byte // 2 : (first_byte + num_bytes) // 2, Shadow.WRITTEN] = 1


def explain(program: Program, state: State) -> tuple[str, list[str]]:
    """(which array and element, notes) of a fault that the sanitizer found."""
    clock = state.clock
    k = int(np.searchsorted(program.core_pe, clock[Clock.FAULT_PE]))
    half, other = int(clock[Clock.FAULT_HALF]), int(clock[Clock.FAULT_OTHER_ROW])
    symbol = _symbol_at(program.classes[program.core_class[k]], half)
    where = f"byte {2 * half}, in no array" if symbol is None else f"array '{symbol.name}'{_element(symbol, half)}"
    notes = [] if other < 0 else [f"the other: instruction from {program.source_lines[program.code[other, Col.LINE]]}"]
    return where, notes


def _pattern(cls: CodeClass) -> np.ndarray:
    """Rows of `shadow` of a PE of this class, as loaded."""
    pattern = np.zeros((2 * cls.sram_words, len(Shadow)), np.int64)
    for number, symbol in enumerate(cls.symbols.values(), 1):
        first, last = _half_words(symbol)
        pattern[first:last, Shadow.SYMBOL] = number
        pattern[first : last + last % 2, Shadow.WRITTEN] = symbol.written
    return pattern


def _half_words(symbol: Symbol) -> tuple[int, int]:
    return symbol.address // 2, (symbol.address + symbol.num_elements * TYPE_BYTES[symbol.type]) // 2


def _symbol_at(cls: CodeClass, half: int) -> Symbol | None:
    for symbol in cls.symbols.values():
        first, last = _half_words(symbol)
        if first <= half < last:
            return symbol
    return None


def _element(symbol: Symbol, half: int) -> str:
    index = np.unravel_index((half - symbol.address // 2) // (TYPE_BYTES[symbol.type] // 2), symbol.shape)
    return f"[{', '.join(map(str, index))}]"
