"""The source half: from text to pictures, by way of the syntax tree."""
