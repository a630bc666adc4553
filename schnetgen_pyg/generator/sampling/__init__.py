"""Molecules drawn from a generator: one loop, restarts, Gibbs rounds, hydrogens, files."""
