"""Wrong operands of instructions."""


from mistakes import ROW, mistake
from wse.isa import Op, Type
from wse.operands import Reg


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
