"""The compiler: from a model file to a program for the wafer, one module per stage."""
