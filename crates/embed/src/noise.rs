//! Test pictures for trying networks out.

/// A test picture of `side x side` RGB pixels, the same at every call; the higher the seed, the higher the contrast.
pub fn noise(side: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let amplitude = 20.0 * seed.min(6) as f32;
    (0..side * side * 3)
        .map(|at| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let wave = ((at / 3 % side) as f32 * 0.11 * seed as f32 + (at % 3) as f32).sin();
            let grain = (state >> 24) as f32 / 255.0 - 0.5;
            let tint = if (at as u32 + seed).is_multiple_of(3) { -60.0 } else { 0.0 };
            (127.5 + tint + amplitude * (0.7 * wave + 0.3 * grain)) as u8
        })
        .collect()
}
