"""Seeing a run: the folder a run leaves, the page, the pictures and the terminal's heat map made from it."""
