"""What chemistry knows, without networks: elements, bonds, perception, identity, geometry."""
