"""What can guide an edit: masks, sketches, semantic maps, colours, exemplars, captions, and how they enter the networks."""
