"""From operands as a kernel writer holds them to one row of `Program.code`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from wse.errors import ProgramError
from wse.isa import BRANCHES, FLOAT_ONLY, HALF_TYPES, MAX_DIMS, NUM_COLS, TWO_SOURCES, VECTOR_OPS, Col, Kind, Op, Operand, Type
from wse.operands import Fifo, Popped, Push, Recv, Reg, Send, View, broadcast_strides, common_shape
from wse.program import NUMPY_TYPE, Print
from wse.spec import MachineSpec

_OPERANDS = "give an array, a register, a number, or what send() and the like return"


def encode(
    spec: MachineSpec, op: Op, d: Any, a: Any, b: Any, shape: Any, type: Type | None, mapped: bool
) -> tuple[np.ndarray, tuple[tuple[int, str], ...]]:
    """The instruction's row, and (column, symbol) for each address the linker adds.

    d, a, b: views, registers, numbers, `Recv`, `Send` or None. `shape`: the iteration space, None for that of the views.
    `type`: of the arithmetic, None for i32 if an operand is, else f32. Raises `ProgramError` for what no machine could execute.
    """
    operands = {Col.D: d, Col.A: a, Col.B: b}
    if type is None:
        types = [operand.type for operand in operands.values() if isinstance(operand, (View, Reg))]
        types += [operand.fifo.type for operand in operands.values() if isinstance(operand, (Push, Popped))]
        type = Type.I32 if Type.I32 in types and op not in FLOAT_ONLY | {Op.ITOF} else Type.F32
    if shape is not None and not isinstance(shape, tuple):
        shape = (shape,)
    views = [operand for operand in operands.values() if isinstance(operand, View)]
    shape = common_shape(views, shape)
    _check(spec, op, d, a, b, type, mapped, shape)
    row = np.zeros(NUM_COLS, np.int64)
    row[Col.OP], row[Col.TYPE], row[Col.MAPPED] = op, type, mapped
    row[Col.EXTENT : Col.EXTENT + MAX_DIMS] = 1
    row[Col.EXTENT_REG : Col.EXTENT_REG + MAX_DIMS] = -1
    for axis, extent in enumerate(shape, start=MAX_DIMS - len(shape)):
        if isinstance(extent, Reg):
            row[Col.EXTENT_REG + axis] = extent.number
        else:
            row[Col.EXTENT + axis] = extent
    symbols = []
    for col, operand in operands.items():
        row[col + Operand.OFFSET_REG] = -1
        if isinstance(operand, View):
            size = np.dtype(NUMPY_TYPE[operand.type]).itemsize
            row[col + Operand.KIND], row[col + Operand.TYPE] = Kind.MEM, operand.type
            row[col + Operand.BASE] = operand.offset * size
            row[col + Operand.STRIDE : col + Operand.STRIDE + MAX_DIMS] = broadcast_strides(operand, shape)
            if operand.offset_reg is not None:
                row[col + Operand.OFFSET_REG] = operand.offset_reg.number
            symbols.append((col + Operand.BASE, operand.name))
        elif isinstance(operand, (Push, Popped)):
            row[col + Operand.KIND] = Kind.FIFO_PUSH if isinstance(operand, Push) else Kind.FIFO_POP
            row[col + Operand.TYPE] = operand.fifo.type
            symbols.append((col + Operand.BASE, operand.fifo.name))
        elif operand is not None:
            index = op is Op.ARGMAX and col == Col.B
            row[col + Operand.KIND], row[col + Operand.BASE] = _scalar(operand, Type.I32 if index else type)
            if isinstance(operand, (Recv, Send)) and _is_packed(operand, type):
                row[col + Operand.TYPE] = Type.F16
    return row, tuple(symbols)


MAX_PRINTED = 64
"""Elements that one print can show."""


Encoded = tuple[np.ndarray, tuple[tuple[int, str], ...]]
"""A row, and (column, symbol) for each address the linker adds."""


def encode_print(spec: MachineSpec, text: str, values: tuple[Any, ...]) -> tuple[Print, list[Encoded]]:
    """What `print` shows, and a row with its symbols, as from `encode`, for each element (one where there is none).

    Raises `ProgramError` for values that are neither registers nor short arrays in a fixed place, or do not fill the text's fields.
    """
    for value in values:
        if not isinstance(value, (Reg, View)):
            raise ProgramError(f"cannot show {value!r}", help="values are registers and views of arrays; put anything else into the text")
        if isinstance(value, View) and (value.offset_reg is not None or not all(isinstance(extent, int) for extent in value.shape)):
            raise ProgramError(f"the place of '{value.name}' depends on a register", help="copy the element into a register first")
    shapes = tuple(() if isinstance(value, Reg) else value.shape for value in values)
    types = tuple(Type.F32 if isinstance(value, Reg) and value.type is Type.F16 else value.type for value in values)  # a register holds f32
    printed = Print(text if "{" in text else " ".join([text, *["{}"] * len(values)]), types, shapes)
    if printed.num_rows > MAX_PRINTED:
        raise ProgramError(f"{printed.num_rows} elements are too many", help=f"a print shows at most {MAX_PRINTED}: take a slice")
    try:
        printed.text.format(*(np.zeros(shape, NUMPY_TYPE[type])[()] for type, shape in zip(printed.types, shapes, strict=True)))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        message = f"{len(values)} values do not fill the fields of {text!r}: {error}"
        raise ProgramError(message, help="give a value for each field, or a text without fields") from None
    elements = [element for value in values for element in (_elements(value) if isinstance(value, View) else [value])]
    rows = [encode(spec, Op.PRINT, None, element, None, None, element.type if element else None, False) for element in elements or [None]]
    for i, (row, _) in enumerate(rows):
        row[Col.TASK] = i
    return printed, rows


def _elements(view: View) -> list[View]:
    """Each element of a view, in row-major order."""
    return [view[index].strided((1,), (1,)) for index in itertools.product(*(range(extent) for extent in view.shape))]


def _check(spec: MachineSpec, op: Op, d: Any, a: Any, b: Any, type: Type, mapped: bool, shape: tuple[Any, ...]) -> None:
    """Raise `ProgramError` for what no machine could execute."""

    def refuse(wrong: bool, message: str, help: str) -> None:
        if wrong:
            raise ProgramError(message, help=help)

    refuse(op in VECTOR_OPS and d is None, "needs a destination", _OPERANDS)
    refuse(op in TWO_SOURCES | BRANCHES and (a is None or b is None), "needs two sources", _OPERANDS)
    refuse(op in VECTOR_OPS and a is None, "needs a source", _OPERANDS)
    refuse(op in FLOAT_ONLY and type == Type.I32, "is for f32 and f16 only", "convert with itof() first")
    refuse(
        type in HALF_TYPES and (op in BRANCHES or op is Op.ARGMAX), "compares in f32; f16 arrays are read as f32", "leave out type="
    )
    refuse(type == Type.MIXED and op is not Op.FMAC, "type MIXED is for fmac only", "take type=Type.F16 or F32")
    refuse(op is Op.MOD and type != Type.I32, "is for i32 only", "declare its arrays and registers as Type.I32")
    refuse(
        isinstance(a, (Send, Push)) or isinstance(b, (Send, Push)) or isinstance(d, (Recv, Popped, int, float)),
        "a source cannot be send() or push(), a destination cannot be recv(), pop() or a number",
        "the destination comes first, then the sources",
    )
    refuse(
        op is Op.FMAC and isinstance(d, (Send, Push)), "accumulates, so its destination must be an array or a register",
        "mul() has no sum; or accumulate in an array and send that",
    )  # fmt: skip
    refuse(
        op is Op.ARGMAX and not (isinstance(d, Reg) and isinstance(a, View) and isinstance(b, (Reg, int))),
        "wants a register, an array and a register or number", "the register and the one after it hold value and index",
    )  # fmt: skip
    if isinstance(a, Recv) and isinstance(b, Recv):
        refuse(a.color == b.color, f"both sources receive color {a.color}", "receive into an array first, or take two colors")
    if isinstance(a, Popped):
        refuse(a == b, f"both sources pop '{a.fifo.name}'", "pop into an array first")
    held = any(isinstance(operand, Recv) and operand.held for operand in (a, b))
    refuse(held and not mapped, "a held recv() wants mapped=True", "a wavelet is held for each outer step of a mapped operation")
    refuse(mapped and len(shape) < 2, "mapped=True wants at least two dimensions", "the last axis is mapped over the others: x[:, None]")
    for reg in _registers(d, a, b, shape):
        last = reg.number + (op is Op.ARGMAX and reg is d)  # ARGMAX writes a pair
        refuse(not 0 <= last < spec.num_registers, f"no register {last}", f"registers are 0..{spec.num_registers - 1}")
    whole = (int, np.integer)
    refuse(not all(isinstance(n, (*whole, Reg)) for n in shape), f"the extents {shape} must be whole numbers or registers", "check shape=")
    refuse(any(isinstance(n, whole) and n < 0 for n in shape), f"the extents {shape} must not be negative", "an extent counts elements")
    for operand in (d, a, b):
        kept = operand.fifo if isinstance(operand, (Push, Popped)) else operand
        if isinstance(kept, (View, Fifo)):
            fits = _may_hold(op, kept.type, type, operand is a)
            refuse(not fits, f"'{kept.name}' is {kept.type.name}, the operation {type.name}", "give type=, or convert with itof() or mov()")
        control = isinstance(operand, Send) and operand.control
        refuse(control and type in HALF_TYPES, "a control wavelet holds 32 bits, not f16", "use type=Type.I32 and control_bits()")
        if isinstance(operand, (Recv, Send)):
            halves = "packed wavelets hold two f16 values"
            refuse(bool(operand.packed) and (type == Type.I32 or control), halves, "leave out packed=True, or work in f16")
            refuse(not 0 <= operand.color < spec.num_colors, f"no color {operand.color}", f"colors are 0..{spec.num_colors - 1}")


def _registers(d: Any, a: Any, b: Any, shape: tuple[Any, ...]) -> list[Reg]:
    """Every register that an instruction names."""
    used = [*shape, *(operand.offset_reg if isinstance(operand, View) else operand for operand in (d, a, b))]
    return [reg for reg in used if isinstance(reg, Reg)]


def _may_hold(op: Op, held: Type, type: Type, is_source: bool) -> bool:
    """Whether an array or FIFO of type `held` can be an operand of an operation of `type`."""
    if op is Op.ITOF:
        return (held == Type.I32) == is_source
    return (held == Type.I32) == (type == Type.I32) or (op is Op.MOV and type not in HALF_TYPES)


def _is_packed(operand: Recv | Send, type: Type) -> bool:
    """Whether an operation of `type` takes or sends two elements in each wavelet of `operand`."""
    if operand.packed is None:
        return type in HALF_TYPES
    return operand.packed


def _scalar(operand: Any, type: Type) -> tuple[Kind, int]:
    """Kind and base column of an operand that is not in memory."""
    if isinstance(operand, Reg):
        return Kind.REG, operand.number
    if isinstance(operand, Recv):
        return (Kind.FABRIC_HELD if operand.held else Kind.FABRIC_IN), operand.color
    if isinstance(operand, Send):
        return (Kind.CONTROL_OUT if operand.control else Kind.FABRIC_OUT), operand.color
    if isinstance(operand, (int, float, np.integer, np.floating)):
        try:
            value = np.int32(operand) if type == Type.I32 else np.float32(operand)
        except (OverflowError, ValueError):
            raise ProgramError(f"{operand} does not fit into {type.name.lower()}", help="numbers in instructions have 32 bits") from None
        return Kind.IMM, int(value.view(np.uint32))
    raise ProgramError(f"cannot use {operand!r} as an operand", help=_OPERANDS)
