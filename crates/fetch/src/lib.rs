//! Downloads pictures from untrusted hosts and decodes them under limits.
