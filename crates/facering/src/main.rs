//! facering: finds networks of fake accounts by the faces they share.
fn main() {}
