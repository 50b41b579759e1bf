//! ONNX Runtime: found, loaded, execution providers, sessions.
