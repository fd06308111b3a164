"""Recurrent operators in standard operators: their forms, their activations and their cells."""
