"""Properties of molecules from their 2-D graphs."""
