"""Everything that a workflow may ask of the world, thin, one file a subject."""
