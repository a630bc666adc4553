"""Write the files anew."""

from schnetgen_pyg.commands.help import main

main()
