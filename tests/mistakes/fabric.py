"""Wrong routes, host ports, switches and control wavelets."""


from mistakes import EAST, NORTH, RAMP, ROW, WEST, A, B, C, line, mistake
from wse.errors import FaultError
from wse.isa import Command
from wse.program import Rect

# --- routes -----------------------------------------------------------------------------------------------------------


@mistake("verify", "sends color 1, which has no such route", "PE (0,0)", "color 1")
def _send_on_an_unrouted_color(p):
    p.pes(A).mov(p.pes(A).send(1), 1.0)  # here


@mistake("verify", "receives color 1, which has no such route", "PE (0,0), like 2 more,", "to its core come none")
def _receive_from_an_unrouted_color(p):
    p.pes(ROW).mov(p.reg(), p.pes(ROW).recv(1))  # here


@mistake("verify", "sends color 1, which has no such route", "PE (1,0)", "from its core go none")
def _send_where_the_color_comes_in(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(B).mov(p.pes(B).send(1), p.pes(B).recv(1))  # here


@mistake("verify", "receives color 2, which has no such route", "PE (1,0)", "to its core come color 1")
def _receive_another_color_than_comes(p):
    line(p)
    p.pes(A).mov(p.pes(A).send(1), 1.0)
    p.pes(B).mov(p.reg(), p.pes(B).recv(2))  # here


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


# --- host ports -------------------------------------------------------------------------------------------------------


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


# --- switches and control wavelets ------------------------------------------------------------------------------------


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
