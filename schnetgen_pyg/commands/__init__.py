"""The commands of `schnetgen_pyg.commands.table`, each a function of its arguments.

What is heavy is imported inside them: ``schnetgen --help`` and a misspelt command answer at once.
"""
