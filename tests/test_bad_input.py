"""What a kernel can get wrong, one row a mistake: found as early as it can be, with the kernel's line, the place, color and help.

The stages, in order: "call" of the builder, "link", "verify", "load" (a machine), "run". A row's mistake is on its lines marked `# here`.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from wse.builder import ProgramBuilder
from wse.errors import DoesNotFitError, FaultError, ProgramError, WseError
from wse.isa import Command, Done, Op, Port, Type
from wse.machine import Machine
from wse.operands import Reg
from wse.program import Rect
from wse.spec import load_spec
from wse.verify import verify

NORTH, EAST, SOUTH, WEST, RAMP = Port
STAGES = ("call", "link", "verify", "load", "run")
A, B, C = (Rect(x, 0, 1, 1) for x in range(3))
ROW = Rect(0, 0, 3, 1)


@dataclass(frozen=True)
class Mistake:
    """A row of the table. `write` makes the program; `words` are in the message, `place` and `color` somewhere ("" where there is none)."""

    name: str
    stage: str
    write: Callable[[ProgramBuilder], object]
    words: str
    place: str = ""
    color: str = ""
    error: type[WseError] = ProgramError

    def find(self) -> tuple[str, WseError]:
        """The stage in which it is found, and how."""
        program = ProgramBuilder(load_spec("wse2"), 3, 1)
        linked = machine = None
        for stage in STAGES:
            try:
                if stage == "call":
                    self.write(program)
                elif stage == "link":
                    linked = program.link()
                elif stage == "verify":
                    verify(linked)
                elif stage == "load":
                    machine = Machine(linked)
                else:
                    machine.check(machine.run(max_cycles=10_000))
            except WseError as error:
                return stage, error
        raise AssertionError(f"{self.name}: nobody noticed")

    def lines(self) -> set[str]:
        """What the error may name: the marked lines of `write`."""
        source, first = inspect.getsourcelines(self.write)
        marked = {i for i, line in enumerate(source) if "# here" in line}
        return {f"tests/test_bad_input.py:{first + i}" for i in marked or range(len(source))}


TABLE: list[Mistake] = []


def mistake(stage: str, words: str, place: str = "", color: str = "", error: type[WseError] = ProgramError):
    """Put the function that follows into the table."""

    def add(write):
        TABLE.append(Mistake(write.__name__.strip("_").replace("_", " "), stage, write, words, place, color, error))
        return write

    return add


def line(program, color=1, to=RAMP):
    """A way of `color` from PE (0,0) to PE (1,0)."""
    program.route(A, color, RAMP, [EAST])
    program.route(B, color, WEST, [to])


# --- routes -------------------------------------------------------------------------------------------------------------


@mistake("verify", "sends color 1, which has no such route", "PE (0,0)", "color 1")
def _send_on_an_unrouted_color(p):
    p.pes(A).mov(p.pes(A).send(1), 1.0)  # here


@mistake("verify", "receives color 1, which has no such route", "PE (0,0) and 2 more", "color 1")
def _receive_from_an_unrouted_color(p):
    p.pes(ROW).mov(p.reg(), p.pes(ROW).recv(1))  # here


@mistake("verify", "sends color 1, which has no such route", "PE (1,0)", "color 1")
def _send_where_the_color_comes_in(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(B).mov(p.pes(B).send(1), p.pes(B).recv(1))  # here


@mistake("call", "already has another route", "PE (1,0)", "color 1")
def _two_rx(p):
    line(p)
    p.route(B, 1, EAST, [RAMP])  # here


@mistake("call", "already has another route", "PE (0,0)", "color 1")
def _two_sets_of_tx(p):
    p.route(ROW, 1, RAMP, [EAST])
    p.switch(A, 1, [(RAMP, [EAST]), (RAMP, [WEST])])  # here


@mistake("call", "needs at least one other tx port", "(0,0)-(2,0)", "color 1")
def _a_route_that_leads_nowhere(p):
    p.route(ROW, 1, WEST, [])  # here


@mistake("call", "needs at least one other tx port", "(0,0)-(2,0)", "color 1")
def _a_route_back_where_it_came_from(p):
    p.route(ROW, 1, WEST, [WEST, EAST])  # here


@mistake("call", "no color 24", "(0,0)-(2,0)", "color 24")
def _route_a_color_out_of_range(p):
    p.route(ROW, 24, WEST, [EAST])  # here


@mistake("verify", "leads off the mesh", "PE (2,0)", "color 1")
def _a_route_off_the_mesh(p):
    p.pes(C).mov(p.pes(C).send(1), 1.0)
    p.route(C, 1, RAMP, [EAST])  # here


@mistake("verify", "leads off the mesh", "PE (0,0)", "color 1")
def _a_route_from_off_the_mesh(p):
    p.pes(A).mov(p.reg(), p.pes(A).recv(1))
    p.route(A, 1, NORTH, [RAMP])  # here


@mistake("verify", "the neighbour there has no route that takes it in", "PE (0,0)", "color 1")
def _a_route_that_the_neighbour_does_not_take_in(p):
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.route(A, 1, RAMP, [EAST])  # here


@mistake("verify", "the neighbour there has no route that sends it there", "PE (1,0)", "color 1")
def _a_route_that_the_neighbour_does_not_feed(p):
    p.pes(B).mov(p.reg(), p.pes(B).recv(1))
    p.route(B, 1, WEST, [RAMP])  # here


@mistake("verify", "uses the ramp", "PE (1,0)", "color 1")
def _a_ramp_without_a_core(p):
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.route(A, 1, RAMP, [EAST])
    p.route(B, 1, WEST, [RAMP])  # here


@mistake("call", "is outside the mesh of 3x1 PEs", "(1,0)-(3,0)")
def _a_rectangle_off_the_mesh(p):
    p.pes(Rect(1, 0, 3, 1))  # here


@mistake("call", "has no PEs", "(1,0)")
def _an_empty_rectangle(p):
    p.pes(Rect(1, 0, 0, 1))  # here


@mistake("call", "is outside the mesh of 3x1 PEs", "(0,1)-(0,1)", "color 1")
def _a_route_on_a_rectangle_off_the_mesh(p):
    p.route(Rect(0, 1, 1, 1), 1, RAMP, [EAST])  # here


# --- host ports ---------------------------------------------------------------------------------------------------------


@mistake("verify", "has no rx WEST", "PE (0,0)", "color 1")
def _an_input_where_nothing_is_routed(p):
    p.pes(A).mov(p.reg(), 1.0)
    p.input("in", 0, 0, 1, WEST)  # here


@mistake("verify", "has no tx NORTH", "PE (0,0)", "color 1")
def _an_output_where_the_route_goes_elsewhere(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(B).mov(p.reg(), p.pes(B).recv(1))
    p.output("out", 0, 0, 1, NORTH)  # here


@mistake("call", "does not lead off the mesh", "PE (1,0)", "color 1")
def _an_input_inside_the_mesh(p):
    p.input("in", 1, 0, 1, WEST)  # here


@mistake("call", "does not lead off the mesh", "PE (0,0)", "color 1")
def _an_output_at_a_ramp(p):
    p.output("out", 0, 0, 1, RAMP)  # here


@mistake("call", "is outside the mesh of 3x1 PEs", "PE (3,0)", "color 1")
def _an_input_off_the_mesh(p):
    p.input("in", 3, 0, 1, EAST)  # here


@mistake("call", "two host inputs are named 'in'", "PE (2,0)", "color 2")
def _two_inputs_of_one_name(p):
    p.input("in", 0, 0, 1, WEST)
    p.input("in", 2, 0, 2, EAST)  # here


@mistake("call", "no color 24", "(0,0)-(0,0)", "color 24")
def _an_input_of_a_color_out_of_range(p):
    p.input("in", 0, 0, 24, WEST)  # here


# --- operands -----------------------------------------------------------------------------------------------------------


@mistake("call", "fmac: accumulates", "(0,0)-(2,0)")
def _accumulate_onto_a_color(p):
    p.pes(ROW).fmac(p.pes(ROW).send(1), p.pes(ROW).zeros("a", 3), 2.0)  # here


@mistake("call", "mod: is for i32 only", "(0,0)-(2,0)")
def _modulo_of_floats(p):
    p.pes(ROW).mod(p.pes(ROW).zeros("a", 3), p.pes(ROW).zeros("b", 3), 2)  # here


@mistake("call", "exp: is for f32 and f16 only", "(0,0)-(2,0)")
def _a_special_function_of_integers(p):
    p.pes(ROW).exp(p.pes(ROW).zeros("a", 3), p.pes(ROW).zeros("b", 3), type=Type.I32)  # here


@mistake("call", "add: 'n' is I32, the operation F32", "(0,0)-(2,0)")
def _an_array_of_the_wrong_type(p):
    n = p.pes(ROW).zeros("n", 3, Type.I32)
    p.pes(ROW).add(p.pes(ROW).zeros("a", 3), n, 1.0, type=Type.F32)  # here


@mistake("call", "add: needs two sources", "(0,0)-(2,0)")
def _one_source_too_few(p):
    p.pes(ROW).add(p.reg(), 1.0, None)  # here


@mistake("call", "mov: needs a destination", "(0,0)-(2,0)")
def _no_destination(p):
    p.pes(ROW).mov(None, 1.0)  # here


@mistake("call", "mov: needs a source", "(0,0)-(2,0)")
def _no_source(p):
    p.pes(ROW).mov(p.reg(), None)  # here


@mistake("call", "mov: a source cannot be send()", "(0,0)-(2,0)")
def _read_from_a_send(p):
    p.pes(ROW).mov(p.reg(), p.pes(ROW).send(1))  # here


@mistake("call", "mov: cannot use 'one' as an operand", "(0,0)-(2,0)")
def _an_operand_that_is_none(p):
    p.pes(ROW).mov(p.reg(), "one")  # here


@mistake("call", "mov: 2147483648 does not fit into i32", "(0,0)-(2,0)")
def _a_number_that_does_not_fit(p):
    p.pes(ROW).mov(p.reg(Type.I32), 2**31)  # here


@mistake("call", "add: both sources receive color 1", "(0,0)-(2,0)", "color 1")
def _the_same_color_twice(p):
    p.pes(ROW).add(p.reg(), p.pes(ROW).recv(1), p.pes(ROW).recv(1))  # here


@mistake("call", "mov: no color 24", "(0,0)-(2,0)", "color 24")
def _send_a_color_out_of_range(p):
    p.pes(ROW).mov(p.pes(ROW).send(24), 1.0)  # here


@mistake("call", "fmac: a held recv() wants mapped=True", "(0,0)-(2,0)")
def _hold_a_wavelet_for_nothing(p):
    p.pes(ROW).fmac(p.pes(ROW).zeros("a", 3), p.pes(ROW).zeros("b", 3), p.pes(ROW).recv(1, held=True))  # here


@mistake("call", "mov: mapped=True wants at least two dimensions", "(0,0)-(2,0)")
def _map_over_one_axis(p):
    p.pes(ROW).mov(p.pes(ROW).zeros("a", 3), 1.0, mapped=True)  # here


@mistake("call", "packed wavelets hold two f16 values", "(0,0)-(2,0)")
def _pack_integers(p):
    p.pes(ROW).mov(p.pes(ROW).send(1, packed=True), p.reg(Type.I32), type=Type.I32)  # here


@mistake("call", "mov: no register 32", "(0,0)-(2,0)")
def _a_register_out_of_range(p):
    p.pes(ROW).mov(Reg(32), 1.0)  # here


@mistake("call", "all 32 registers are in use")
def _one_register_too_many(p):
    for _ in range(33):
        p.reg()  # here


@mistake("call", "add: operands do not broadcast together: a(3,), b(4,)", "(0,0)-(2,0)")
def _shapes_that_do_not_meet(p):
    p.pes(ROW).add(p.pes(ROW).zeros("a", 3), p.pes(ROW).zeros("b", 4), 1.0)  # here


@mistake("call", "mov: an operation has at most 4 dimensions", "(0,0)-(2,0)")
def _too_many_dimensions(p):
    p.pes(ROW).mov(p.pes(ROW).zeros("a", (1, 1, 1, 1, 1)), 1.0)  # here


@mistake("call", "mov: the extents (-2,) must not be negative", "(0,0)-(2,0)")
def _a_negative_extent(p):
    p.pes(ROW).mov(p.reg(), 1.0, shape=-2)  # here


@mistake("call", "mov: the extents (2.5,) must be whole numbers or registers", "(0,0)-(2,0)")
def _half_an_element(p):
    p.pes(ROW).mov(p.reg(), 1.0, shape=2.5)  # here


@mistake("call", "mov: no microthread 9", "(0,0)-(2,0)")
def _a_microthread_out_of_range(p):
    p.pes(ROW).mov(p.reg(), 1.0, thread=9)  # here


@mistake("call", "a branch compares registers or numbers", "(0,0)-(2,0)")
def _branch_on_an_array(p):
    p.pes(ROW).branch(Op.BLT, p.pes(ROW).zeros("a", 1), 0, p.label("l"))  # here


@mistake("call", "print: 1 values do not fill the fields of '{} and {}'", "(0,0)-(2,0)")
def _a_print_with_a_value_too_few(p):
    p.pes(ROW).print("{} and {}", p.reg())  # here


# --- arrays and SRAM ----------------------------------------------------------------------------------------------------


@mistake("link", "B more than", "PE (0,0) (and 2 others like it)", error=DoesNotFitError)
def _an_array_too_large_for_the_sram(p):
    p.pes(ROW).zeros("a", 12000)
    p.pes(ROW).zeros("b", 1000)  # here


@mistake("call", "the data's shape (1, 1, 3) does not begin with (height, width)", "(0,0)-(2,0)")
def _data_for_other_pes(p):
    p.pes(ROW).array("a", np.zeros((1, 1, 3)))  # here


@mistake("call", "array 'a': cannot make f32 of the data", "(0,0)-(2,0)")
def _data_that_are_no_numbers(p):
    p.pes(ROW).const("a", ["one", "two"])  # here


@mistake("call", "array 'a': the extents (-3,) must not be negative", "(0,0)-(2,0)")
def _an_array_of_negative_size(p):
    p.pes(ROW).zeros("a", -3)  # here


@mistake("link", "two arrays named 'a'", "PE (1,0)")
def _two_arrays_of_one_name(p):
    p.pes(ROW).zeros("a", 3)
    p.pes(B).zeros("a", 3)  # here


@mistake("link", "has no array 'a'", "PE (1,0)")
def _an_array_of_other_pes(p):
    a = p.pes(A).zeros("a", 3)
    p.pes(Rect(0, 0, 2, 1)).mov(a, 1.0)  # here


@mistake("call", "index 5 is outside axis 0 of 'a' with extent 3")
def _index_past_the_end(p):
    p.pes(ROW).zeros("a", 3)[5]  # here


@mistake("call", "too many indices for array 'a'")
def _one_index_too_many(p):
    p.pes(ROW).zeros("a", 3)[1, 2]  # here


@mistake("call", "cannot reshape 'a'")
def _reshape_what_is_not_contiguous(p):
    p.pes(ROW).zeros("a", 4)[::2].reshape(2, 1)  # here


@mistake("verify", "reaches outside its data with the destination of mov: bytes 0 to 19", "PE (0,0) and 2 more")
def _a_descriptor_past_the_end(p):
    p.pes(ROW).mov(p.pes(ROW).zeros("a", 4).strided((5,), (1,)), 1.0)  # here


@mistake("verify", "reaches outside its data with the first source of add: bytes -8 to 3", "PE (0,0) and 2 more")
def _negative_strides_past_the_start(p):
    p.pes(ROW).add(p.reg(), p.pes(ROW).zeros("a", 4).strided((3,), (-1,)), 1.0)  # here


@mistake("run", "a memory operand reaches outside the PE's SRAM", "PE (1,0)", error=FaultError)
def _a_descriptor_that_walks_out(p):
    pe, n = p.pes(B), p.reg(Type.I32)
    a = pe.zeros("a", 8)
    with pe.loop(4, n):
        pe.mul(n, n, 7)
        pe.mov(a[:4].shifted(n), 1.0)  # here


@mistake("run", "a memory operand reaches outside the PE's SRAM", "PE (0,0)", error=FaultError)
def _an_extent_from_a_register_that_is_too_large(p):
    n = p.reg(Type.I32)
    p.pes(ROW).mov(n, 9)
    p.pes(ROW).mov(p.pes(ROW).zeros("a", 8).strided((n,), (1,)), 1.0)  # here


@mistake("call", "FIFO 'q' has a capacity of 0", "(0,0)-(2,0)")
def _a_fifo_without_room(p):
    p.pes(ROW).fifo("q", 0)  # here


@mistake("call", "FIFO 'q': no task 99", "(0,0)-(2,0)")
def _a_fifo_that_wakes_no_task(p):
    p.pes(ROW).fifo("q", 4, on_push=99)  # here


# --- tasks and labels ---------------------------------------------------------------------------------------------------


@mistake("verify", "binds color 1 to task 3, but color 1 is bound to task 2", "PE (1,0)", "color 1")
def _a_queue_bound_twice(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    for task in (2, 3):
        p.pes(B, task).bind(1, Reg(0))  # here
        p.pes(B, task).mov(p.reg(), 1.0)


@mistake("verify", "binds color 2 to task 2, but color 1 is bound to task 2", "PE (1,0)", "color 2")
def _a_task_bound_twice(p):
    line(p)
    line(p, 2)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(A).mov(p.pes(A).send(2), 1.0)
    p.pes(B, 2).bind(1, Reg(0))
    p.pes(B, 2).bind(2, Reg(1))  # here
    p.pes(B, 2).mov(p.reg(), 1.0)


@mistake("verify", "binds color 1 to task 2, but has no route that brings it", "PE (1,0)", "color 1")
def _a_task_bound_to_an_unrouted_color(p):
    p.pes(B, 2).mov(p.reg(), 1.0)
    p.pes(B, 2).bind(1, Reg(0))  # here


@mistake("verify", "binds color 1 to task 2 and also receives it", "PE (1,0)", "color 1")
def _a_bound_color_that_is_also_received(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(B, 2).mov(p.reg(), 1.0)
    p.pes(B, 2).bind(1, Reg(0))
    p.pes(B).mov(p.reg(), p.pes(B).recv(1))  # here


@mistake("call", "no color 24", "(1,0)-(1,0)", "color 24")
def _bind_a_color_out_of_range(p):
    p.pes(B, 2).bind(24, Reg(0))  # here


@mistake("call", "the main task starts by itself", "(1,0)-(1,0)", "color 1")
def _bind_the_main_task(p):
    p.pes(B).bind(1, Reg(0))  # here


@mistake("call", "no task 99", "(1,0)-(1,0)")
def _a_task_out_of_range(p):
    p.pes(B, 99)  # here


@mistake("call", "no task 99", "(1,0)-(1,0)")
def _activate_a_task_out_of_range(p):
    p.pes(B).activate(99)  # here


@mistake("call", "no task 99", "(1,0)-(1,0)")
def _a_completion_of_a_task_out_of_range(p):
    p.pes(B).mov(p.reg(), 1.0, on_done=(Done.ACTIVATE, 99))  # here


@mistake("call", "no task 99", "(1,0)-(1,0)")
def _block_a_task_out_of_range(p):
    p.pes(B).start_blocked(99)  # here


@mistake("verify", "activates task 1, which has no code", "PE (1,0)")
def _activate_a_task_without_code(p):
    p.pes(B).activate(1)  # here


@mistake("link", "branches to label 'on', which it does not have", "PE (1,0)")
def _a_label_that_is_placed_nowhere(p):
    p.pes(B).jump(p.label("on"))  # here


@mistake("link", "branches to label 'on', which it does not have", "PE (1,0)")
def _a_label_that_is_placed_in_another_task(p):
    label = p.label("on")
    p.pes(B, 1).place(label)
    p.pes(B, 1).mov(p.reg(), 1.0)
    p.pes(B).jump(label)  # here


@mistake("link", "has label 'on' twice", "PE (1,0)")
def _a_label_that_is_placed_twice(p):
    label = p.label("on")
    p.pes(B).place(label)
    p.pes(B).jump(label)
    p.pes(B).place(label)  # here


@mistake("run", "division by zero", "PE (1,0)", error=FaultError)
def _divide_by_zero(p):
    n = p.reg(Type.I32)
    p.pes(B).mov(n, 0)
    p.pes(B).div(n, 7, n, type=Type.I32)  # here


# --- switches and control wavelets --------------------------------------------------------------------------------------


@mistake("call", "a switch has 1 to 4 positions, got 5", "(0,0)-(2,0)", "color 1")
def _a_switch_with_five_positions(p):
    p.switch(ROW, 1, [(RAMP, [EAST])] * 5)  # here


@mistake("call", "at most 8 commands, got 9", "(0,0)-(2,0)")
def _nine_commands(p):
    p.pes(ROW).send_control(1, *[Command.ADVANCE] * 9)  # here


@mistake("verify", "advances its switch of color 1 past the last of 2 positions", "PE (0,0)", "color 1")
def _a_switch_past_its_last_position(p):
    p.switch(A, 1, [(RAMP, [EAST])] * 2)
    p.route(B, 1, WEST, [RAMP])
    p.pes(B).mov(p.reg(), 1.0)
    for _ in range(2):
        p.pes(A).send_control(1, Command.ADVANCE)  # here


@mistake("run", "past its last position", "PE (1,0)", "color 1", error=FaultError)
def _a_switch_that_another_pe_takes_past_its_last_position(p):
    p.route(A, 1, RAMP, [EAST])
    p.switch(B, 1, [(WEST, [RAMP])] * 2)  # here
    p.pes(B).mov(p.reg(), 1.0)
    p.pes(A).send_control(1, Command.ADVANCE, shape=2)


@mistake("run", "a control wavelet names a task that has no code", "PE (1,0)", "color 1", error=FaultError)
def _a_control_wavelet_for_a_task_without_code(p):
    line(p)
    p.pes(B).mov(p.reg(), 1.0)
    p.pes(A).send_control(1, task=5)  # here


@mistake("call", "no position 4", "(1,0)-(1,0)", "color 1")
def _rewrite_a_fifth_position(p):
    p.pes(B).reroute(1, WEST, [EAST], position=4)  # here


@mistake("link", "rewrites color 1, which has no route", "PE (1,0)", "color 1")
def _rewrite_a_route_that_is_not_there(p):
    p.pes(B).reroute(1, WEST, [EAST])  # here


@mistake("link", "rewrites position 1 of color 1, which has 1", "PE (1,0)", "color 1")
def _rewrite_a_position_that_is_not_there(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(B).mov(p.reg(), p.pes(B).recv(1))
    p.pes(B).reroute(1, WEST, [EAST], position=1)  # here


# --- hangs --------------------------------------------------------------------------------------------------------------


@mistake("verify", "wait for each other in a circle", "PEs (0,0)-(1,0)")
def _both_receive_before_they_send(p):
    line(p)
    p.route(B, 2, RAMP, [WEST])
    p.route(A, 2, EAST, [RAMP])
    for pe, come, leave in ((A, 2, 1), (B, 1, 2)):
        p.pes(pe).mov(Reg(0), p.pes(pe).recv(come))  # here
        p.pes(pe).mov(p.pes(pe).send(leave), Reg(0))


@mistake("verify", "receives 4 wavelets of color 1", "PE (1,0)", "color 1")
def _receive_more_than_is_sent(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0, shape=3)  # here
    p.pes(B).mov(p.reg(), p.pes(B).recv(1), shape=4)  # here


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_mistake_is_found_as_early_as_it_can_be_and_told_with_all_that_helps(row):
    stage, error = row.find()
    text = error.render()
    assert (stage, type(error)) == (row.stage, row.error), text
    assert row.words in error.message, text
    assert "\n" not in error.message
    assert row.place in text and row.color in text
    found = set(re.findall(r"tests/test_bad_input\.py:\d+", " ".join(error.notes)))
    assert found & row.lines(), (text, row.lines())
    assert error.help, text


FED = {
    "an unknown input": (lambda m: m.feed("inn", np.zeros(3, np.float32)), "no host input 'inn'"),
    "values of 64 bits": (lambda m: m.feed("in", np.zeros(3)), "input 'in' takes 32-bit values, got float64"),
    "an unknown array": (lambda m: m.read(0, 0, "aa"), "PE (0,0) has no array 'aa'"),
    "a PE without code": (lambda m: m.read(2, 0, "a"), "PE (2,0) has no code and no data"),
    "a PE off the mesh": (lambda m: m.read(5, 0, "a"), "PE (5,0) is outside the mesh of 3x1 PEs"),
    "values of the wrong shape": (lambda m: m.write(0, 0, "a", np.zeros(4)), "array 'a' of PE (0,0) has the shape (3,), got (4,)"),
    "an unknown output": (lambda m: m.output("out"), "no host output 'out'"),
    "no wavelets to wait for": (lambda m: m.run({"done": 0}), "cannot await 0 wavelets at 'done'"),
}


@pytest.mark.parametrize("name", FED)
def test_what_a_machine_is_asked_for_wrongly_is_told_with_a_suggestion(name):
    ask, words = FED[name]
    program = ProgramBuilder(load_spec("wse2"), 3, 1)
    program.route(A, 1, WEST, [RAMP])
    program.route(A, 2, RAMP, [WEST])
    program.input("in", 0, 0, 1, WEST)
    program.output("done", 0, 0, 2, WEST)
    pe = program.pes(A)
    a = pe.zeros("a", 3)
    pe.mov(a, pe.recv(1))
    pe.mov(pe.send(2), a)
    with pytest.raises(ProgramError) as error:
        ask(Machine(program.link()))
    assert words in error.value.message and error.value.help, error.value.render()
