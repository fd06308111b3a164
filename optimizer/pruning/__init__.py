"""The parts of structured pruning: groups of channels, their importance, costs, and the choice of widths."""
