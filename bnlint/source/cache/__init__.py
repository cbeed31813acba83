"""What a run leaves on disk for the next one: facts of files, and the findings of whole runs.

A cache costs no finding and makes none: whatever cannot be read, verified or written is done anew.
"""
