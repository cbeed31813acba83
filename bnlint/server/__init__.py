"""The language server: `session` knows projects and open files, `app` the protocol."""
