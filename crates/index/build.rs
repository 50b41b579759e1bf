//! Compiles the FAISS shim against the headers that `faiss-sys` installs.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=native");
    println!("cargo:rerun-if-env-changed=DEP_FAISS_C_ROOT");
    let Some(root) = std::env::var_os("DEP_FAISS_C_ROOT") else {
        println!(
            "cargo:error=faiss-sys gave no DEP_FAISS_C_ROOT; it must be built with its feature `static`"
        );
        return;
    };
    // `-march` comes from CXXFLAGS, as for FAISS itself: inlined code of its headers must agree with the library's.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("native/shim.cpp")
        .include(PathBuf::from(root).join("include"))
        .flag("-fopenmp")
        .flag_if_supported("-Wno-unused-parameter")
        .compile("facering_faiss_shim");
}
