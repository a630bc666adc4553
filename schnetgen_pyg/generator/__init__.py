"""The generator: what is decided of every atom, what the network is told, and how molecules are
drawn."""
