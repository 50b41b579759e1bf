// What the shim is made of: inverted lists over memory that facering mapped itself, tombstones as a selector, and the way
// from a C++ exception to a return value. Included by shim.cpp only.
#pragma once

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVF.h>
#include <faiss/IndexIVFFastScan.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexScalarQuantizer.h>
#include <faiss/VectorTransform.h>
#include <faiss/clone_index.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>
#include <faiss/invlists/InvertedLists.h>
#include <faiss/utils/distances.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <omp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using faiss::Index;
using faiss::IndexIVF;
using faiss::idx_t;

namespace {

thread_local std::string last_error;
std::atomic<int> wanted_threads{0};

// The OpenMP thread count belongs to the calling thread, so every entry sets it.
void enter() {
    int wanted = wanted_threads.load(std::memory_order_relaxed);
    if (wanted > 0 && omp_get_max_threads() != wanted) {
        omp_set_num_threads(wanted);
    }
}

template <class Body>
int guarded(Body body) {
    try {
        enter();
        body();
        return 0;
    } catch (const std::exception& error) {
        last_error = error.what();
    } catch (...) {
        last_error = "an unknown C++ exception";
    }
    return -1;
}

// Inverted lists over mapped memory. Block of list l: bytes starts[l] to starts[l + 1] of `base`, first the codes,
// padded to eight bytes, then the ids.
struct MappedLists : faiss::ReadOnlyInvertedLists {
    const uint8_t* base;
    const uint64_t* starts;

    MappedLists(size_t lists, size_t code, const uint8_t* base, const uint64_t* starts)
            : ReadOnlyInvertedLists(lists, code), base(base), starts(starts) {}

    size_t list_size(size_t list) const override {
        return (starts[list + 1] - starts[list]) / (code_size + 8);
    }
    const uint8_t* get_codes(size_t list) const override {
        return base + starts[list];
    }
    const idx_t* get_ids(size_t list) const override {
        size_t codes = (list_size(list) * code_size + 7) / 8 * 8;
        return reinterpret_cast<const idx_t*>(base + starts[list] + codes);
    }
};

// The same of a file that cannot be mapped as a whole, because the process may not have so much address space: a list is
// read when it is needed. Block of list l: bytes starts[l] to starts[l + 1] behind `base` in the file.
struct ReadLists : faiss::ReadOnlyInvertedLists {
    int file;
    uint64_t base;
    std::vector<uint64_t> starts;
    // An exception in a parallel region of FAISS would end the process, so a failure is remembered and told afterwards.
    mutable std::atomic<bool> failed{false};

    ReadLists(size_t lists, size_t code, int file, uint64_t base, const uint64_t* starts)
            : ReadOnlyInvertedLists(lists, code), file(file), base(base), starts(starts, starts + lists + 1) {}

    ~ReadLists() override {
        close(file);
    }
    size_t list_size(size_t list) const override {
        return (starts[list + 1] - starts[list]) / (code_size + 8);
    }
    const uint8_t* get_codes(size_t list) const override {
        return read(starts[list], list_size(list) * code_size);
    }
    const idx_t* get_ids(size_t list) const override {
        size_t codes = (list_size(list) * code_size + 7) / 8 * 8;
        return reinterpret_cast<const idx_t*>(read(starts[list] + codes, list_size(list) * sizeof(idx_t)));
    }
    void release_codes(size_t, const uint8_t* codes) const override {
        free(const_cast<uint8_t*>(codes));
    }
    void release_ids(size_t, const idx_t* ids) const override {
        free(const_cast<idx_t*>(ids));
    }

    // `calloc` aligns for any number; what cannot be read stays zero.
    const uint8_t* read(uint64_t at, size_t length) const {
        auto to = static_cast<uint8_t*>(calloc(length > 0 ? length : 1, 1));
        size_t done = 0;
        while (to && done < length) {
            ssize_t now = pread(file, to + done, length - done, base + at + done);
            if (now <= 0) {
                if (now < 0 && errno == EINTR) {
                    continue;
                }
                failed = true;
                break;
            }
            done += now;
        }
        if (!to) {
            throw std::bad_alloc();
        }
        return to;
    }
};

// Keeps what is not in a set given as chunks of 65,536 bits; a missing chunk has no bit set.
struct NotInChunks : faiss::IDSelector {
    const uint64_t* const* chunks;
    size_t count;

    NotInChunks(const uint64_t* const* chunks, size_t count) : chunks(chunks), count(count) {}

    bool is_member(idx_t id) const override {
        size_t chunk = static_cast<size_t>(id) >> 16;
        if (chunk >= count || !chunks[chunk]) {
            return true;
        }
        size_t bit = static_cast<size_t>(id) & 0xffff;
        return !((chunks[chunk][bit >> 6] >> (bit & 63)) & 1);
    }
};

faiss::IndexPreTransform* chain_of(const Index* index) {
    return const_cast<faiss::IndexPreTransform*>(dynamic_cast<const faiss::IndexPreTransform*>(index));
}

IndexIVF* lists_of(const Index* index) {
    if (auto chain = chain_of(index)) {
        index = chain->index;
    }
    return const_cast<IndexIVF*>(dynamic_cast<const IndexIVF*>(index));
}

IndexIVF* need_lists(const Index* index) {
    auto ivf = lists_of(index);
    if (!ivf) {
        throw std::runtime_error("the index has no inverted lists");
    }
    return ivf;
}

// A shallow copy that shares the coarse quantizer; the caller sets the lists.
IndexIVF* share(const IndexIVF* model) {
    faiss::Cloner cloner;
    IndexIVF* view = cloner.clone_IndexIVF(model);
    if (!view) {
        throw std::runtime_error("this kind of inverted file cannot be shared");
    }
    view->own_fields = false;
    view->own_invlists = false;
    view->invlists = nullptr;
    view->ntotal = 0;
    return view;
}

// Whether segments can be stored as plain lists of fixed-size codes.
bool has_plain_lists(const Index* index) {
    auto ivf = lists_of(index);
    if (!ivf || dynamic_cast<faiss::IndexIVFFastScan*>(ivf) ||
        !dynamic_cast<faiss::ArrayInvertedLists*>(ivf->invlists)) {
        return false;
    }
    try {
        delete share(ivf);
        return true;
    } catch (...) {
        return false;
    }
}

// Throws if a list could not be read since the last time.
void check_read(const Index* view) {
    auto ivf = lists_of(view);
    auto lists = ivf ? dynamic_cast<const ReadLists*>(ivf->invlists) : nullptr;
    if (lists && lists->failed.exchange(false)) {
        throw std::runtime_error("a list could not be read from its file");
    }
}

faiss::SearchParametersIVF parameters(size_t nprobe, faiss::IDSelector* selector) {
    faiss::SearchParametersIVF p;
    p.nprobe = nprobe;
    p.sel = selector;
    return p;
}

} // namespace
