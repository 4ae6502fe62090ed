"""Wrong tasks and labels, and code that hangs."""


from mistakes import EAST, RAMP, WEST, A, B, line, mistake
from wse.errors import FaultError
from wse.isa import Done, Type
from wse.operands import Reg

# --- tasks and labels -------------------------------------------------------------------------------------------------


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


# --- hangs ------------------------------------------------------------------------------------------------------------


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
