//! From links between faces to scored clusters of accounts, and their Parquet tables.
