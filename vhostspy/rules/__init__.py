"""What peers have to keep to, as data with a function each; and the engine that holds sessions against it."""
