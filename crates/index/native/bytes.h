// The comparison of bulk.h in 8 bits, for processors that multiply bytes (AVX-512 VNNI): five times as many pairs in the
// same time, and codes are decoded to a quarter of the memory.
//
// A value v of a code is the byte 128 + round(v / step) with one step for the whole codebook, a value q of a query is
// round(q / step) with a step for each query. Rounding moves a score by about step / sqrt(12) of either side, far less
// than a product quantizer itself; a threshold is lowered by six times that, so that no pair is lost, and whoever asks looks
// at each pair exactly anyhow.
//
// Sixteen rows lie interleaved, four values of each at a time, so that each lane of a register sums up one row and nothing
// has to be added across lanes.
//
// Rules as in shim.cpp, which alone includes this, through bulk.h.
#pragma once

#include "parts.h"

#include <cmath>
#include <limits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Queries and a codebook in 8 bits.
struct FxBytes {
    size_t d = 0;
    size_t part = 0;     // values of a sub-vector
    size_t entries = 0;  // codebook entries of a sub-vector
    float step = 0;      // of the codebook
    std::vector<uint8_t> codebook;
    std::vector<int8_t> queries;
    std::vector<float> steps;   // of each query
    std::vector<int32_t> sums;  // of each query's bytes
    std::vector<int32_t> limits;  // sums of products that each query's pairs have to exceed
};

namespace {

// Queries that are compared at once, and rows in two registers.
constexpr size_t BYTES_QUERIES = 8;
constexpr size_t BYTES_ROWS = 32;
constexpr size_t LANES = 16;

const faiss::IndexIVFPQ* byte_codes(const IndexIVF* ivf) {
    auto pq = dynamic_cast<const faiss::IndexIVFPQ*>(ivf);
    bool fits = pq && !pq->by_residual && pq->pq.nbits == 8 && pq->pq.dsub % 4 == 0 && pq->pq.d <= 8192;
    return fits ? pq : nullptr;
}

bool multiplies_bytes() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

float greatest(const float* values, size_t count) {
    float most = 0;
    for (size_t at = 0; at < count; at++) {
        most = std::max(most, std::fabs(values[at]));
    }
    return most;
}

int to_byte(float value, float step) {
    return static_cast<int>(std::lrintf(std::min(127.0f, std::max(-127.0f, value / step))));
}

// What a sum of products has to exceed for a score above the radius, less what rounding may have cost it.
int32_t limit_of(const FxBytes& bytes, size_t query, float radius) {
    double step = bytes.steps[query];
    double slack = 6 / std::sqrt(12.0) * std::hypot(step, double(bytes.step));
    double limit = std::floor((radius - slack) / (step * bytes.step)) + 128.0 * bytes.sums[query];
    double least = std::numeric_limits<int32_t>::min(), most = std::numeric_limits<int32_t>::max();
    return static_cast<int32_t>(std::min(most, std::max(least, limit)));
}

std::unique_ptr<FxBytes> in_bytes(const faiss::IndexIVFPQ* ivf, const float* x, size_t n, float radius) {
    const auto& pq = ivf->pq;
    auto bytes = std::make_unique<FxBytes>();
    bytes->d = pq.d;
    bytes->part = pq.dsub;
    bytes->entries = pq.ksub;
    bytes->step = std::max(greatest(pq.centroids.data(), pq.centroids.size()) / 127, 1e-20f);
    bytes->codebook.resize(pq.centroids.size());
    for (size_t at = 0; at < pq.centroids.size(); at++) {
        bytes->codebook[at] = static_cast<uint8_t>(128 + to_byte(pq.centroids[at], bytes->step));
    }
    bytes->queries.resize(n * pq.d);
    bytes->steps.resize(n);
    bytes->sums.resize(n);
    bytes->limits.resize(n);
    for (size_t row = 0; row < n; row++) {
        const float* from = x + row * pq.d;
        int8_t* to = bytes->queries.data() + row * pq.d;
        float step = std::max(greatest(from, pq.d) / 127, 1e-20f);
        int32_t sum = 0;
        for (size_t at = 0; at < pq.d; at++) {
            int byte = to_byte(from[at], step);
            to[at] = static_cast<int8_t>(byte);
            sum += byte;
        }
        bytes->steps[row] = step;
        bytes->sums[row] = sum;
        bytes->limits[row] = limit_of(*bytes, row, radius);
    }
    return bytes;
}

// Sixteen rows of codes, interleaved. Rows beyond `count` keep what was there.
void decode_bytes(const FxBytes& bytes, const uint8_t* codes, size_t code_size, size_t count, uint8_t* out) {
    size_t parts = bytes.d / bytes.part, words = bytes.part / 4;
    for (size_t row = 0; row < count; row++) {
        const uint8_t* code = codes + row * code_size;
        uint8_t* lane = out + row * 4;
        for (size_t part = 0; part < parts; part++) {
            const uint8_t* entry = bytes.codebook.data() + (part * bytes.entries + code[part]) * bytes.part;
            for (size_t word = 0; word < words; word++) {
                memcpy(lane, entry + word * 4, 4);
                lane += LANES * 4;
            }
        }
    }
}

#if defined(__x86_64__)
// Calls `hit(query, row, score)` for every pair above the query's limit among 16 rows, or 32 if there are `Two` times that
// many, of which the first `n` count.
template <bool Two, class Hit>
__attribute__((target("avx512f,avx512vnni"))) void compare_bytes(
        const FxBytes& bytes, const uint32_t* queries, size_t count, const uint8_t* rows, size_t n, Hit hit) {
    size_t groups = bytes.d / 4;
    const uint8_t* more = rows + groups * LANES * 4;
    uint32_t valid = n >= BYTES_ROWS ? ~0u : (1u << n) - 1;
    for (size_t i = 0; i < count; i += BYTES_QUERIES) {
        size_t left = std::min(BYTES_QUERIES, count - i);
        const int8_t* q[BYTES_QUERIES];
        __m512i sums[BYTES_QUERIES][2];
        for (size_t k = 0; k < BYTES_QUERIES; k++) {
            q[k] = bytes.queries.data() + queries[i + std::min(k, left - 1)] * bytes.d;
            sums[k][0] = sums[k][1] = _mm512_setzero_si512();
        }
        for (size_t group = 0; group < groups; group++) {
            __m512i one = _mm512_loadu_si512(rows + group * LANES * 4);
            __m512i two = Two ? _mm512_loadu_si512(more + group * LANES * 4) : one;
#pragma GCC unroll 8
            for (size_t k = 0; k < BYTES_QUERIES; k++) {
                int32_t word;
                memcpy(&word, q[k] + group * 4, 4);
                __m512i query = _mm512_set1_epi32(word);
                sums[k][0] = _mm512_dpbusd_epi32(sums[k][0], one, query);
                if (Two) {
                    sums[k][1] = _mm512_dpbusd_epi32(sums[k][1], two, query);
                }
            }
        }
        for (size_t k = 0; k < left; k++) {
            uint32_t query = queries[i + k];
            __m512i limit = _mm512_set1_epi32(bytes.limits[query]);
            uint32_t above = _mm512_cmpgt_epi32_mask(sums[k][0], limit);
            if (Two) {
                above |= static_cast<uint32_t>(_mm512_cmpgt_epi32_mask(sums[k][1], limit)) << LANES;
            }
            above &= valid;
            if (above == 0) {
                continue;
            }
            alignas(64) int32_t all[BYTES_ROWS];
            _mm512_store_si512(all, sums[k][0]);
            _mm512_store_si512(all + LANES, sums[k][1]);
            float scale = bytes.steps[query] * bytes.step;
            for (; above != 0; above &= above - 1) {
                size_t row = __builtin_ctz(above);
                hit(query, row, static_cast<float>(all[row] - 128 * bytes.sums[query]) * scale);
            }
        }
    }
}

// As `fx_bulk_lists` for one list.
template <class Hit>
void list_in_bytes(
        const FxBytes& bytes, const IndexIVF* ivf, size_t list, const uint32_t* queries, size_t count,
        std::vector<uint8_t>& rows, Hit hit) {
    size_t size = ivf->invlists->list_size(list), block = bytes.d * LANES;
    const uint8_t* codes = ivf->invlists->get_codes(list);
    rows.resize(2 * block);
    for (size_t at = 0; at < size; at += BYTES_ROWS) {
        size_t n = std::min(BYTES_ROWS, size - at);
        const uint8_t* from = codes + at * ivf->code_size;
        decode_bytes(bytes, from, ivf->code_size, std::min(n, LANES), rows.data());
        auto found = [&](uint32_t query, size_t row, float score) { hit(query, at + row, score); };
        if (n > LANES) {
            decode_bytes(bytes, from + LANES * ivf->code_size, ivf->code_size, n - LANES, rows.data() + block);
            compare_bytes<true>(bytes, queries, count, rows.data(), n, found);
        } else {
            compare_bytes<false>(bytes, queries, count, rows.data(), n, found);
        }
    }
}
#endif

} // namespace
