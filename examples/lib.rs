//! Examples, one concern a file.
