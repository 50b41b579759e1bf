// A C interface over the parts of FAISS that facering needs and the bundled C API does not offer: inverted lists over
// memory that facering mapped itself, adding and searching with the lists already known, training in steps, tombstones
// as a selector, and the thread count.
//
// Rules of this file:
// - Every function that can fail returns 0 or -1 and leaves the reason in `fx_error()` of the same thread.
// - No exception leaves it. One thrown inside an OpenMP region of FAISS would end the process whatever is caught here,
//   so the Rust side validates (list numbers, sizes, finite values) before it calls.
// - Pointers to FAISS objects are opaque on the other side and are freed with `fx_free`.

#include "parts.h"

#include "bulk.h"
#include "processor.h"
#include "scan.h"

extern "C" {

struct FxShape {
    uint64_t dimension;
    uint64_t lists_dimension;
    uint64_t lists;
    uint64_t code_size;
    int32_t trained;
    int32_t plain_lists;
    int32_t l2;
    int32_t flat_quantizer;
};

const char* fx_error() {
    return last_error.c_str();
}

void fx_threads(int count) {
    wanted_threads.store(count, std::memory_order_relaxed);
    // The pthread build of OpenBLAS has threads of its own.
    if (auto set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) {
        set(count > 0 ? count : omp_get_num_procs());
    }
}

// What BLAS says of itself; empty if it is not OpenBLAS.
const char* fx_blas() {
    auto config = reinterpret_cast<const char* (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_config"));
    return config ? config() : "";
}

// The kernels that OpenBLAS chose for this processor; empty if it is not OpenBLAS.
const char* fx_blas_core() {
    auto core = reinterpret_cast<const char* (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_corename"));
    return core ? core() : "";
}

int fx_factory(int dimension, const char* description, int l2, Index** out) {
    return guarded([&] {
        *out = faiss::index_factory(
                dimension, description, l2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT);
    });
}

void fx_free(Index* index) {
    delete index;
}

int fx_read(const char* path, Index** out) {
    return guarded([&] { *out = faiss::read_index(path, 0); });
}

int fx_read_bytes(const uint8_t* data, size_t length, Index** out) {
    struct Reader : faiss::IOReader {
        const uint8_t* at;
        size_t left;
        size_t operator()(void* to, size_t size, size_t items) override {
            size_t whole = size == 0 ? 0 : std::min(items, left / size);
            memcpy(to, at, whole * size);
            at += whole * size;
            left -= whole * size;
            return whole;
        }
    };
    return guarded([&] {
        Reader reader;
        reader.at = data;
        reader.left = length;
        *out = faiss::read_index(&reader, 0);
    });
}

int fx_write(const Index* index, const char* path) {
    return guarded([&] { faiss::write_index(index, path); });
}

void fx_shape(const Index* index, FxShape* out) {
    auto ivf = lists_of(index);
    out->dimension = index->d;
    out->lists_dimension = ivf ? ivf->d : index->d;
    out->lists = ivf ? ivf->nlist : 0;
    out->code_size = ivf ? ivf->code_size : 0;
    out->trained = index->is_trained;
    out->plain_lists = has_plain_lists(index);
    out->l2 = index->metric_type == faiss::METRIC_L2;
    out->flat_quantizer = ivf && dynamic_cast<faiss::IndexFlat*>(ivf->quantizer);
}

int64_t fx_total(const Index* index) {
    return index->ntotal;
}

// Codes of the vectors themselves, not of the difference to their centroid: smaller error at inner product, and codes
// that do not depend on the centroids.
int fx_prepare(Index* index, int seed, int iterations) {
    return guarded([&] {
        if (auto hnsw = dynamic_cast<faiss::IndexHNSW*>(index)) {
            hnsw->hnsw.efSearch = 128;
        }
        auto ivf = lists_of(index);
        if (!ivf) {
            return;
        }
        ivf->cp.seed = seed;
        ivf->cp.niter = iterations;
        ivf->cp.spherical = ivf->metric_type == faiss::METRIC_INNER_PRODUCT;
        // A small sample is warned about once, with figures, by the training itself.
        ivf->cp.min_points_per_centroid = 1;
        if (auto hnsw = dynamic_cast<faiss::IndexHNSW*>(ivf->quantizer)) {
            hnsw->hnsw.efSearch = 128;
        }
        if (auto pq = dynamic_cast<faiss::IndexIVFPQ*>(ivf)) {
            pq->by_residual = false;
            pq->do_polysemous_training = false;
            pq->pq.cp.seed = seed;
            pq->pq.cp.min_points_per_centroid = 1;
        }
        if (auto sq = dynamic_cast<faiss::IndexIVFScalarQuantizer*>(ivf)) {
            sq->by_residual = false;
        }
    });
}

// Trains the transforms before the lists (OPQ, PCA), if any.
int fx_train_chain(Index* index, size_t rows, const float* x) {
    return guarded([&] {
        auto chain = chain_of(index);
        if (!chain) {
            return;
        }
        std::unique_ptr<float[]> owned;
        const float* at = x;
        for (auto transform : chain->chain) {
            if (!transform->is_trained) {
                transform->train(rows, at);
            }
            std::unique_ptr<float[]> next(transform->apply(rows, at));
            at = next.get();
            owned.swap(next);
        }
    });
}

int fx_apply_chain(const Index* index, size_t rows, const float* x, float* out) {
    return guarded([&] {
        auto ivf = need_lists(index);
        auto chain = chain_of(index);
        if (!chain) {
            memcpy(out, x, sizeof(float) * rows * ivf->d);
            return;
        }
        std::unique_ptr<const float[]> kept;
        const float* at = chain->apply_chain(rows, x);
        if (at != x) {
            kept.reset(at);
        }
        memcpy(out, at, sizeof(float) * rows * ivf->d);
    });
}

// Trains the coarse centroids on rows that went through the chain.
int fx_train_coarse(Index* index, size_t rows, const float* x) {
    return guarded([&] {
        auto ivf = need_lists(index);
        ivf->train_q1(rows, x, false, ivf->metric_type);
    });
}

// Takes coarse centroids that were trained elsewhere.
int fx_set_centroids(Index* index, const float* centroids) {
    return guarded([&] {
        auto ivf = need_lists(index);
        ivf->quantizer->reset();
        if (!ivf->quantizer->is_trained) {
            ivf->quantizer->train(ivf->nlist, centroids);
        }
        ivf->quantizer->add(ivf->nlist, centroids);
        ivf->quantizer->is_trained = true;
    });
}

// Trains the encoder of the lists on rows that went through the chain (the coarse centroids are there already).
int fx_train_codes(Index* index, size_t rows, const float* x) {
    return guarded([&] {
        need_lists(index)->train(rows, x);
        index->is_trained = true;
    });
}

// Trains an index without lists as FAISS itself does.
int fx_train_whole(Index* index, size_t rows, const float* x) {
    return guarded([&] { index->train(rows, x); });
}

int fx_kmeans(int d, size_t rows, const float* x, size_t k, int l2, int iterations, int seed, float* out) {
    return guarded([&] {
        faiss::ClusteringParameters p;
        p.niter = iterations;
        p.seed = seed;
        p.spherical = !l2;
        p.min_points_per_centroid = 1;
        faiss::Clustering clustering(d, static_cast<int>(k), p);
        faiss::IndexFlat assigner(d, l2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT);
        clustering.train(rows, x, assigner);
        memcpy(out, clustering.centroids.data(), sizeof(float) * k * d);
    });
}

// The centroids of an exact quantizer, where they lie; null for any other quantizer.
const float* fx_flat_centroids(const Index* index) {
    auto ivf = lists_of(index);
    auto flat = ivf ? dynamic_cast<const faiss::IndexFlat*>(ivf->quantizer) : nullptr;
    return flat && static_cast<size_t>(flat->ntotal) == ivf->nlist ? flat->get_xb() : nullptr;
}

// The `out_d` directions in which the rows have the most energy, rotated at random among themselves so that energy is
// spread evenly; `out` is out_d x d. Inner products are to survive, so the rows are not centred: each is taken with its
// opposite.
int fx_directions(size_t d, size_t out_d, size_t rows, const float* x, float* out) {
    return guarded([&] {
        std::vector<float> both(x, x + rows * d);
        both.reserve(2 * rows * d);
        for (size_t at = 0; at < rows * d; at++) {
            both.push_back(-x[at]);
        }
        faiss::PCAMatrix pca(static_cast<int>(d), static_cast<int>(out_d), 0, true);
        pca.train(2 * rows, both.data());
        memcpy(out, pca.A.data(), sizeof(float) * out_d * d);
    });
}

// Rows of `d` values projected on `out_d` directions (out_d x d), as one product of matrices.
int fx_project(size_t d, size_t out_d, size_t rows, const float* x, const float* directions, float* out) {
    return guarded([&] {
        faiss::LinearTransform transform(static_cast<int>(d), static_cast<int>(out_d), false);
        transform.A.assign(directions, directions + out_d * d);
        transform.is_trained = true;
        transform.apply_noalloc(rows, x, out);
    });
}

int fx_coarse(const Index* index, size_t rows, const float* x, size_t k, float* scores, idx_t* lists) {
    return guarded([&] { need_lists(index)->quantizer->search(rows, x, k, scores, lists); });
}

int fx_view(const Index* model, Index** out) {
    return guarded([&] {
        auto ivf = need_lists(model);
        std::unique_ptr<IndexIVF> view(share(ivf));
        view->invlists = new faiss::ArrayInvertedLists(ivf->nlist, ivf->code_size);
        view->own_invlists = true;
        *out = view.release();
    });
}

int fx_view_mapped(const Index* model, const uint8_t* base, const uint64_t* starts, size_t rows, Index** out) {
    return guarded([&] {
        auto ivf = need_lists(model);
        std::unique_ptr<IndexIVF> view(share(ivf));
        view->invlists = new MappedLists(ivf->nlist, ivf->code_size, base, starts);
        view->own_invlists = true;
        view->ntotal = rows;
        *out = view.release();
    });
}

// The same without mapping: lists are read from the file at `path` when they are needed.
int fx_view_read(
        const Index* model, const char* path, uint64_t base, const uint64_t* starts, size_t rows, Index** out) {
    return guarded([&] {
        auto ivf = need_lists(model);
        std::unique_ptr<IndexIVF> view(share(ivf));
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            throw std::runtime_error(strerror(errno));
        }
        view->invlists = new ReadLists(ivf->nlist, ivf->code_size, file, base, starts);
        view->own_invlists = true;
        view->ntotal = rows;
        *out = view.release();
    });
}

int fx_encode(const Index* index, size_t rows, const float* x, const idx_t* lists, uint8_t* codes) {
    return guarded([&] { need_lists(index)->encode_vectors(rows, x, lists, codes); });
}

int fx_add_codes(Index* view, size_t rows, const idx_t* ids, const idx_t* lists, const uint8_t* codes) {
    return guarded([&] {
        auto ivf = need_lists(view);
        for (size_t row = 0; row < rows; row++) {
            ivf->invlists->add_entry(lists[row], ids[row], codes + row * ivf->code_size);
        }
        ivf->ntotal += rows;
    });
}

size_t fx_list_size(const Index* view, size_t list) {
    auto ivf = lists_of(view);
    return ivf ? ivf->invlists->list_size(list) : 0;
}

// What this gives must be handed back with `fx_list_release`.
int fx_list(const Index* view, size_t list, const uint8_t** codes, const idx_t** ids) {
    return guarded([&] {
        auto ivf = need_lists(view);
        *codes = ivf->invlists->get_codes(list);
        *ids = ivf->invlists->get_ids(list);
        check_read(view);
    });
}

void fx_list_release(const Index* view, size_t list, const uint8_t* codes, const idx_t* ids) {
    if (auto ivf = lists_of(view)) {
        ivf->invlists->release_codes(list, codes);
        ivf->invlists->release_ids(list, ids);
    }
}

// `faiss_only`: with FAISS's own kernel, against which the other is held in a test.
int fx_lists_search(
        int faiss_only, const Index* view, size_t rows, const float* x, size_t k, size_t nprobe, const idx_t* lists,
        const float* coarse, const uint64_t* const* gone, size_t gone_chunks, float* scores, idx_t* ids) {
    return guarded([&] {
        NotInChunks selector(gone, gone_chunks);
        auto ivf = need_lists(view);
        if (auto codes = faiss_only ? nullptr : scannable(ivf)) {
            scan_nearest(*codes, rows, x, k, nprobe, lists, gone ? &selector : nullptr, scores, ids);
        } else {
            auto p = parameters(nprobe, gone ? &selector : nullptr);
            ivf->search_preassigned(rows, x, k, lists, coarse, scores, ids, false, &p);
        }
        check_read(view);
    });
}

int fx_lists_range(
        int faiss_only, const Index* view, size_t rows, const float* x, float radius, size_t nprobe, const idx_t* lists,
        const float* coarse, const uint64_t* const* gone, size_t gone_chunks, faiss::RangeSearchResult** out) {
    return guarded([&] {
        NotInChunks selector(gone, gone_chunks);
        auto ivf = need_lists(view);
        auto result = std::make_unique<faiss::RangeSearchResult>(rows);
        if (auto codes = faiss_only ? nullptr : scannable(ivf)) {
            scan_within(*codes, rows, x, radius, nprobe, lists, gone ? &selector : nullptr, result.get());
        } else {
            auto p = parameters(nprobe, gone ? &selector : nullptr);
            ivf->range_search_preassigned(rows, x, radius, lists, coarse, result.get(), false, &p);
        }
        check_read(view);
        *out = result.release();
    });
}

int fx_flat_search(
        int l2, size_t d, size_t rows, const float* x, size_t base_rows, const float* base, size_t k,
        float* scores, idx_t* ids) {
    return guarded([&] {
        if (l2) {
            faiss::knn_L2sqr(x, base, d, rows, base_rows, k, scores, ids);
        } else {
            faiss::knn_inner_product(x, base, d, rows, base_rows, k, scores, ids);
        }
    });
}

int fx_flat_range(
        int l2, size_t d, size_t rows, const float* x, size_t base_rows, const float* base, float radius,
        faiss::RangeSearchResult** out) {
    return guarded([&] {
        auto result = std::make_unique<faiss::RangeSearchResult>(rows);
        if (l2) {
            faiss::range_search_L2sqr(x, base, d, rows, base_rows, radius, result.get());
        } else {
            faiss::range_search_inner_product(x, base, d, rows, base_rows, radius, result.get());
        }
        *out = result.release();
    });
}

void fx_range_view(
        const faiss::RangeSearchResult* result, const size_t** limits, const idx_t** ids, const float** scores) {
    *limits = result->lims;
    *ids = result->labels;
    *scores = result->distances;
}

void fx_range_free(faiss::RangeSearchResult* result) {
    delete result;
}

int fx_add(Index* index, size_t rows, const float* x) {
    return guarded([&] { index->add(rows, x); });
}

int fx_search(const Index* index, size_t rows, const float* x, size_t k, size_t nprobe, float* scores, idx_t* ids) {
    return guarded([&] {
        auto p = parameters(nprobe, nullptr);
        faiss::SearchParametersPreTransform outer;
        outer.index_params = &p;
        if (!lists_of(index)) {
            index->search(rows, x, k, scores, ids);
        } else if (chain_of(index)) {
            index->search(rows, x, k, scores, ids, &outer);
        } else {
            index->search(rows, x, k, scores, ids, &p);
        }
    });
}

// Maps a whole file for reading; empty files cannot be mapped. Gives 1 if there is no address space for it.
int fx_map(const char* path, const uint8_t** data, size_t* length) {
    bool no_space = false;
    int code = guarded([&] {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            throw std::runtime_error(strerror(errno));
        }
        struct stat facts;
        void* at = MAP_FAILED;
        if (fstat(file, &facts) == 0 && facts.st_size > 0) {
            at = mmap(nullptr, facts.st_size, PROT_READ, MAP_SHARED, file, 0);
        } else {
            errno = EINVAL;
        }
        int reason = errno;
        close(file);
        if (at == MAP_FAILED) {
            no_space = reason == ENOMEM;
            throw std::runtime_error(strerror(reason));
        }
        *data = static_cast<const uint8_t*>(at);
        *length = facts.st_size;
    });
    return no_space ? 1 : code;
}

void fx_unmap(const uint8_t* data, size_t length) {
    munmap(const_cast<uint8_t*>(data), length);
}

} // extern "C"
