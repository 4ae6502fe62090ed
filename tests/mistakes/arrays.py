"""Arrays that do not fit, or are not where they are looked for."""

import numpy as np

from mistakes import ROW, A, B, mistake
from wse.errors import DoesNotFitError, FaultError
from wse.isa import Type
from wse.program import Rect


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


@mistake("verify", "reaches outside its data with the destination of mov: bytes 0 to 19", "PE (0,0), like 2 more,")
def _a_descriptor_past_the_end(p):
    p.pes(ROW).mov(p.pes(ROW).zeros("a", 4).strided((5,), (1,)), 1.0)  # here


@mistake("verify", "reaches outside its data with the first source of add: bytes -8 to 3", "PE (0,0), like 2 more,")
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
