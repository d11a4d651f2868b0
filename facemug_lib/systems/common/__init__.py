"""What the sibling systems share: their contract, their registry, their faces. Every other file of the room above is a system."""
