"""The reference machine: a slow, plain definition of what the engine must do, and random programs to compare them on."""
