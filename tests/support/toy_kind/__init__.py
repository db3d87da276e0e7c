"""A kind of task that the package does not know: a file for each room that knows about kinds."""
