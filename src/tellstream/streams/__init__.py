"""The life of a stream, without HTTP."""
