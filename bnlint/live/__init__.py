"""The torch front end: a model to its layer graph, mode trace and measurements."""
