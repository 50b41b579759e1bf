//! HTTP API, review pages and metrics.
