//! What an analyst reads: HTML, terminal, CSV and JSON, from the tables alone.
