// Says in a sentence that the processor is too old, where it would otherwise be an illegal instruction.
//
// FAISS's own static objects use such instructions already, so this runs before them (the lowest priority that programs
// may use), is compiled for any x86-64 itself, and calls nothing but the system.

#pragma once

#if defined(__x86_64__)

#include <unistd.h>

__attribute__((constructor(101), target("arch=x86-64"))) static void refuse_old_processor() {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) {
        return;
    }
    static const char sentence[] =
        "error: this processor lacks AVX2, FMA or BMI2 (x86-64-v3), for which facering is compiled: run it on one that has "
        "them, as Intel's have from 2013 on and AMD's from 2015 on\n";
    // Nobody is left to be told that this could not be written.
    const ssize_t written = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    static_cast<void>(written);
    _exit(1);
}

#endif
