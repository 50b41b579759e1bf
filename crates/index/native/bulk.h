// Comparing many queries with the lists of one index at once: every list is decoded once for all the queries that visit
// it, and the inner products are taken in tiles that stay in registers. The scores are those that FAISS's own search
// gives, up to rounding, since a product quantizer without residuals adds up the parts of the very same inner product.
//
// Rules as in shim.cpp, which alone includes this. Nothing here starts threads: the Rust side runs several ranges of lists
// side by side.
#pragma once

#include "bytes.h"
#include "parts.h"

#include <algorithm>

#include <faiss/IndexIVFFlat.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

struct FxPair {
    uint64_t id;
    uint32_t query;
    float score;
};

struct FxPairs {
    std::vector<FxPair> found;
};

namespace {

// A tile is TILE queries by TILE rows.
constexpr size_t TILE = 4;
// Rows decoded together: at 512 dimensions 256 KiB, which stays in the second-level cache beside the queries.
constexpr size_t ROWS = 128;

using Tile = void (*)(const float* const* q, const float* const* x, size_t d, float* out);

void tile_plain(const float* const* q, const float* const* x, size_t d, float* out) {
    for (size_t i = 0; i < TILE; i++) {
        for (size_t j = 0; j < TILE; j++) {
            float sum = 0;
            for (size_t at = 0; at < d; at++) {
                sum += q[i][at] * x[j][at];
            }
            out[i * TILE + j] = sum;
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void tile_avx512(
        const float* const* q, const float* const* x, size_t d, float* out) {
    __m512 sums[TILE][TILE];
    for (auto& row : sums) {
        for (auto& sum : row) {
            sum = _mm512_setzero_ps();
        }
    }
    for (size_t at = 0; at < d; at += 16) {
        // Lanes past the end are zero on both sides.
        __mmask16 lanes = d - at >= 16 ? 0xffff : static_cast<__mmask16>((1u << (d - at)) - 1);
        __m512 rows[TILE];
        for (size_t j = 0; j < TILE; j++) {
            rows[j] = _mm512_maskz_loadu_ps(lanes, x[j] + at);
        }
        for (size_t i = 0; i < TILE; i++) {
            __m512 query = _mm512_maskz_loadu_ps(lanes, q[i] + at);
            for (size_t j = 0; j < TILE; j++) {
                sums[i][j] = _mm512_fmadd_ps(query, rows[j], sums[i][j]);
            }
        }
    }
    for (size_t i = 0; i < TILE; i++) {
        for (size_t j = 0; j < TILE; j++) {
            out[i * TILE + j] = _mm512_reduce_add_ps(sums[i][j]);
        }
    }
}

// Two queries at a time: sixteen registers hold no more sums than that beside the rows.
__attribute__((target("avx2,fma"))) void tile_avx2(
        const float* const* q, const float* const* x, size_t d, float* out) {
    for (size_t i = 0; i < TILE; i += 2) {
        __m256 sums[2][TILE];
        for (auto& row : sums) {
            for (auto& sum : row) {
                sum = _mm256_setzero_ps();
            }
        }
        size_t at = 0;
        for (; at + 8 <= d; at += 8) {
            __m256 one = _mm256_loadu_ps(q[i] + at);
            __m256 two = _mm256_loadu_ps(q[i + 1] + at);
            for (size_t j = 0; j < TILE; j++) {
                __m256 row = _mm256_loadu_ps(x[j] + at);
                sums[0][j] = _mm256_fmadd_ps(one, row, sums[0][j]);
                sums[1][j] = _mm256_fmadd_ps(two, row, sums[1][j]);
            }
        }
        for (size_t k = 0; k < 2; k++) {
            for (size_t j = 0; j < TILE; j++) {
                alignas(32) float parts[8];
                _mm256_store_ps(parts, sums[k][j]);
                float sum = 0;
                for (float part : parts) {
                    sum += part;
                }
                for (size_t rest = at; rest < d; rest++) {
                    sum += q[i + k][rest] * x[j][rest];
                }
                out[(i + k) * TILE + j] = sum;
            }
        }
    }
}
#endif

Tile choose_tile() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        return tile_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return tile_avx2;
    }
#endif
    return tile_plain;
}

// Calls `hit(query, row, score)` for every pair above the radius. `queries` are numbers of rows of `x`.
template <class Hit>
void compare(
        Tile tile, const float* x, size_t d, const uint32_t* queries, size_t count, const float* rows, size_t n,
        float radius, Hit hit) {
    float scores[TILE * TILE];
    const float* q[TILE];
    const float* r[TILE];
    for (size_t i = 0; i < count; i += TILE) {
        size_t left = std::min(TILE, count - i);
        for (size_t k = 0; k < TILE; k++) {
            q[k] = x + queries[i + std::min(k, left - 1)] * d;
        }
        for (size_t j = 0; j < n; j += TILE) {
            size_t wide = std::min(TILE, n - j);
            for (size_t k = 0; k < TILE; k++) {
                r[k] = rows + (j + std::min(k, wide - 1)) * d;
            }
            tile(q, r, d, scores);
            for (size_t a = 0; a < left; a++) {
                for (size_t b = 0; b < wide; b++) {
                    if (scores[a * TILE + b] > radius) {
                        hit(queries[i + a], j + b, scores[a * TILE + b]);
                    }
                }
            }
        }
    }
}

// Whether codes are those of the vectors themselves, decoded by a loop without threads.
bool decodes(const IndexIVF* ivf) {
    if (auto pq = dynamic_cast<const faiss::IndexIVFPQ*>(ivf)) {
        return !pq->by_residual;
    }
    return dynamic_cast<const faiss::IndexIVFFlat*>(ivf) != nullptr;
}

void decode(const IndexIVF* ivf, const uint8_t* codes, size_t n, float* out) {
    if (auto pq = dynamic_cast<const faiss::IndexIVFPQ*>(ivf)) {
        for (size_t row = 0; row < n; row++) {
            pq->pq.decode(codes + row * ivf->code_size, out + row * ivf->d);
        }
    } else {
        memcpy(out, codes, n * ivf->code_size);
    }
}

} // namespace

extern "C" {

int fx_has_chain(const Index* index) {
    return chain_of(index) != nullptr;
}

int fx_bulk_fits(const Index* index) {
    auto ivf = lists_of(index);
    return ivf && ivf->metric_type == faiss::METRIC_INNER_PRODUCT && decodes(ivf);
}

// The queries `x` (n rows) and the codebook of the index in 8 bits, for pairs above the radius; null if the processor does not multiply bytes, or codes
// are not made of them.
int fx_bytes_new(const Index* index, const float* x, size_t n, float radius, FxBytes** out) {
    return guarded([&] {
        auto pq = multiplies_bytes() ? byte_codes(need_lists(index)) : nullptr;
        *out = pq ? in_bytes(pq, x, n, radius).release() : nullptr;
    });
}

void fx_bytes_free(FxBytes* bytes) {
    delete bytes;
}

// Everything above the radius in the lists `first` to `last` (exclusive). `starts` (last - first + 1 of them) tell
// where in `queries` the numbers of the rows of `x` begin that visit each list. With `bytes`, made of the same queries and
// radius for an index with the same codebook, scores are rounded and a little below the radius counts too.
int fx_bulk_lists(
        const Index* view, const float* x, const FxBytes* bytes, size_t first, size_t last, const uint64_t* starts,
        const uint32_t* queries, float radius, FxPairs** out) {
    return guarded([&] {
        static const Tile tile = choose_tile();
        auto ivf = need_lists(view);
        size_t d = ivf->d;
        auto pq = byte_codes(ivf);
        if (bytes && !(pq && pq->pq.d == bytes->d && pq->pq.dsub == bytes->part && pq->pq.ksub == bytes->entries)) {
            throw std::invalid_argument("the queries in 8 bits are for another codebook");
        }
        auto result = std::make_unique<FxPairs>();
        std::vector<float> rows;
        std::vector<uint8_t> byte_rows;
        for (size_t list = first; list < last; list++) {
            size_t from = starts[list - first], to = starts[list - first + 1];
            size_t size = ivf->invlists->list_size(list);
            if (from == to || size == 0) {
                continue;
            }
            const idx_t* ids = ivf->invlists->get_ids(list);
#if defined(__x86_64__)
            if (bytes) {
                list_in_bytes(*bytes, ivf, list, queries + from, to - from, byte_rows,
                              [&](uint32_t query, size_t row, float score) {
                                  result->found.push_back({static_cast<uint64_t>(ids[row]), query, score});
                              });
                continue;
            }
#endif
            const uint8_t* codes = ivf->invlists->get_codes(list);
            rows.resize(ROWS * d);
            for (size_t at = 0; at < size; at += ROWS) {
                size_t n = std::min(ROWS, size - at);
                decode(ivf, codes + at * ivf->code_size, n, rows.data());
                compare(tile, x, d, queries + from, to - from, rows.data(), n, radius,
                        [&](uint32_t query, size_t row, float score) {
                            result->found.push_back({static_cast<uint64_t>(ids[at + row]), query, score});
                        });
            }
        }
        *out = result.release();
    });
}

// Every pair of `rows` queries and `base_rows` vectors above the radius; the id is the number of the vector.
int fx_bulk_flat(
        size_t d, const float* x, const uint32_t* queries, size_t count, const float* base, size_t base_rows,
        float radius, FxPairs** out) {
    return guarded([&] {
        static const Tile tile = choose_tile();
        auto result = std::make_unique<FxPairs>();
        for (size_t at = 0; at < base_rows; at += ROWS) {
            size_t n = std::min(ROWS, base_rows - at);
            compare(tile, x, d, queries, count, base + at * d, n, radius,
                    [&](uint32_t query, size_t row, float score) {
                        result->found.push_back({at + row, query, score});
                    });
        }
        *out = result.release();
    });
}

void fx_pairs_view(const FxPairs* pairs, const FxPair** found, size_t* count) {
    *found = pairs->found.data();
    *count = pairs->found.size();
}

void fx_pairs_free(FxPairs* pairs) {
    delete pairs;
}

} // extern "C"
