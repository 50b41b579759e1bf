// Scanning the product codes of inverted lists for a few nearest ones or all within a radius.
//
// FAISS's own kernel gathers 32-bit entries of a 64 KiB table, and gathers are slow on many processors. Here the table has
// 16-bit entries, so that it fits the first cache, and is read by plain loads. A score is off by at most half a step for
// each code byte, under a thousandth of what the codes themselves are off. Included by shim.cpp only.
#pragma once

#include "parts.h"

#include <faiss/utils/Heap.h>

#include <algorithm>
#include <cmath>

namespace {

// What a query's table says about one code: `base + scale * sum of steps`.
struct ScanTable {
    std::vector<uint16_t> steps;
    // Of each part the least entry, which `base` holds for all of them.
    std::vector<float> least;
    float base = 0;
    float scale = 0;

    // The entries for a query; `floats` is room for as many.
    void fill(const faiss::IndexIVFPQ& ivf, const float* x, std::vector<float>& floats) {
        const auto& pq = ivf.pq;
        floats.resize(pq.M * pq.ksub);
        steps.resize(floats.size());
        if (ivf.metric_type == faiss::METRIC_INNER_PRODUCT) {
            pq.compute_inner_prod_table(x, floats.data());
        } else {
            pq.compute_distance_table(x, floats.data());
        }
        least.resize(pq.M);
        float widest = 0;
        base = 0;
        for (size_t m = 0; m < pq.M; m++) {
            const float* from = &floats[m * pq.ksub];
            float low = from[0], high = from[0];
#pragma omp simd reduction(min : low) reduction(max : high)
            for (size_t at = 0; at < pq.ksub; at++) {
                low = std::min(low, from[at]);
                high = std::max(high, from[at]);
            }
            least[m] = low;
            base += low;
            widest = std::max(widest, high - low);
        }
        scale = widest / 65535;
        float by = widest > 0 ? 65535 / widest : 0;
        for (size_t m = 0; m < pq.M; m++) {
            const float* from = &floats[m * pq.ksub];
            uint16_t* to = &steps[m * pq.ksub];
            float low = least[m];
#pragma omp simd
            for (size_t at = 0; at < pq.ksub; at++) {
                // Rounding may not pass the greatest step.
                int step = static_cast<int>((from[at] - low) * by + 0.5f);
                to[at] = static_cast<uint16_t>(std::min(step, 65535));
            }
        }
    }

    float score(const uint8_t* code, size_t bytes) const {
        const uint16_t* table = steps.data();
        uint32_t even = 0, odd = 0;
        size_t at = 0;
        for (; at + 8 <= bytes; at += 8, table += 8 * 256) {
            uint64_t word;
            memcpy(&word, code + at, 8);
            even += table[word & 255];
            odd += table[256 + (word >> 8 & 255)];
            even += table[512 + (word >> 16 & 255)];
            odd += table[768 + (word >> 24 & 255)];
            even += table[1024 + (word >> 32 & 255)];
            odd += table[1280 + (word >> 40 & 255)];
            even += table[1536 + (word >> 48 & 255)];
            odd += table[1792 + (word >> 56)];
        }
        for (; at < bytes; at++, table += 256) {
            even += table[code[at]];
        }
        return base + scale * static_cast<float>(even + odd);
    }
};

// The lists, if their codes are those that a scan table can read: a byte for each part, of the vector itself.
const faiss::IndexIVFPQ* scannable(const IndexIVF* ivf) {
    auto pq = dynamic_cast<const faiss::IndexIVFPQ*>(ivf);
    bool fits = pq && typeid(*pq) == typeid(faiss::IndexIVFPQ) && !pq->by_residual && pq->pq.nbits == 8 &&
            pq->polysemous_ht == 0 && pq->code_size == pq->pq.M &&
            (pq->metric_type == faiss::METRIC_INNER_PRODUCT || pq->metric_type == faiss::METRIC_L2);
    return fits ? pq : nullptr;
}

// Calls `take(score, id)` for every code of the query's lists that `wants(score)` and that is not gone.
template <class Wants, class Take>
void scan_lists(
        const faiss::IndexIVFPQ& ivf, const ScanTable& table, const idx_t* lists, size_t nprobe,
        const NotInChunks* selector, Wants wants, Take take) {
    for (size_t probe = 0; probe < nprobe; probe++) {
        if (lists[probe] < 0) {
            continue;
        }
        auto list = static_cast<size_t>(lists[probe]);
        size_t rows = ivf.invlists->list_size(list);
        if (rows == 0) {
            continue;
        }
        faiss::InvertedLists::ScopedCodes codes(ivf.invlists, list);
        faiss::InvertedLists::ScopedIds ids(ivf.invlists, list);
        const uint8_t* code = codes.get();
        for (size_t row = 0; row < rows; row++, code += ivf.code_size) {
            float score = table.score(code, ivf.code_size);
            if (wants(score) && (!selector || selector->is_member(ids[row]))) {
                take(score, ids[row]);
            }
        }
    }
}

// Runs `one(query, table)` for every query, on all threads; what one of them throws is thrown when all have ended.
template <class One>
void for_each_query(const faiss::IndexIVFPQ& ivf, size_t rows, const float* x, One one) {
    std::atomic<bool> failed{false};
#pragma omp parallel if (rows > 1)
    {
        ScanTable table;
        std::vector<float> floats;
#pragma omp for schedule(dynamic, 4)
        for (int64_t query = 0; query < static_cast<int64_t>(rows); query++) {
            try {
                table.fill(ivf, x + query * ivf.d, floats);
                one(static_cast<size_t>(query), table);
            } catch (...) {
                failed = true;
            }
        }
    }
    if (failed) {
        throw std::bad_alloc();
    }
}

// The `k` best of each query, best first; missing ones have the id -1.
template <class C>
void scan_nearest(
        const faiss::IndexIVFPQ& ivf, size_t rows, const float* x, size_t k, size_t nprobe, const idx_t* lists,
        const NotInChunks* selector, float* scores, idx_t* ids) {
    for_each_query(ivf, rows, x, [&](size_t query, const ScanTable& table) {
        float* best = scores + query * k;
        idx_t* which = ids + query * k;
        faiss::heap_heapify<C>(k, best, which);
        scan_lists(
                ivf, table, lists + query * nprobe, nprobe, selector,
                [&](float score) { return C::cmp(best[0], score); },
                [&](float score, idx_t id) { faiss::heap_replace_top<C>(k, best, which, score, id); });
        faiss::heap_reorder<C>(k, best, which);
    });
}

void scan_nearest(
        const faiss::IndexIVFPQ& ivf, size_t rows, const float* x, size_t k, size_t nprobe, const idx_t* lists,
        const NotInChunks* selector, float* scores, idx_t* ids) {
    if (ivf.metric_type == faiss::METRIC_INNER_PRODUCT) {
        scan_nearest<faiss::CMin<float, idx_t>>(ivf, rows, x, k, nprobe, lists, selector, scores, ids);
    } else {
        scan_nearest<faiss::CMax<float, idx_t>>(ivf, rows, x, k, nprobe, lists, selector, scores, ids);
    }
}

// Everything nearer than the radius (inner product above, distance below).
void scan_within(
        const faiss::IndexIVFPQ& ivf, size_t rows, const float* x, float radius, size_t nprobe, const idx_t* lists,
        const NotInChunks* selector, faiss::RangeSearchResult* result) {
    bool inner = ivf.metric_type == faiss::METRIC_INNER_PRODUCT;
    std::vector<std::vector<std::pair<float, idx_t>>> found(rows);
    for_each_query(ivf, rows, x, [&](size_t query, const ScanTable& table) {
        auto& mine = found[query];
        scan_lists(
                ivf, table, lists + query * nprobe, nprobe, selector,
                [&](float score) { return inner ? score > radius : score < radius; },
                [&](float score, idx_t id) { mine.emplace_back(score, id); });
    });
    for (size_t query = 0; query < rows; query++) {
        result->lims[query] = found[query].size();
    }
    result->do_allocation();
    for (size_t query = 0; query < rows; query++) {
        size_t at = result->lims[query];
        for (auto [score, id] : found[query]) {
            result->distances[at] = score;
            result->labels[at++] = id;
        }
    }
}

} // namespace
