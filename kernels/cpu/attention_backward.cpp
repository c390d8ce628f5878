// The backward of attention. It recomputes the weights tile by tile (Dao, arXiv 2307.08691).
#include <algorithm>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/attention_rows.hpp"
#include "kernels/cpu/attention_tiles.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

namespace collie {

using cpu::Document, cpu::HeadMatrix, cpu::key_tile, cpu::QueryTile;

namespace {

enum class Wanted { all, keys, queries };

// The part of a document's tiles that a task works on: all queries × some keys, or some queries × all keys.
struct Task {
  Document document;
  int64_t kv_head;
  Wanted wanted;
  int64_t first_key_tile, last_key_tile, first_query_tile, last_query_tile;
};

void add_tasks(const Document& document, int64_t kv_head, std::vector<Task>& tasks) {
  const int64_t key_tiles = document.key_tiles(), query_tiles = document.query_tiles();
  if (cpu::is_one_task(document)) {
    tasks.push_back({document, kv_head, Wanted::all, 0, key_tiles, 0, query_tiles});
    return;
  }
  for (int64_t i = 0; i < key_tiles; ++i)
    tasks.push_back({document, kv_head, Wanted::keys, i, i + 1, 0, query_tiles});
  for (int64_t i = query_tiles - 1; i >= 0; --i)
    tasks.push_back({document, kv_head, Wanted::queries, 0, key_tiles, i, i + 1});
}

struct Operands {
  const Tensor &q, &k, &v, &d_out, &dq, &dk, &dv;
  const float* log_sum_exp;  // [queries, heads]
  const float* means;        // [queries, heads]: out · d_out
  int64_t heads, group, head_dim;
  float score_scale;
};

void clear_rows(const HeadMatrix& x, int64_t first, int64_t count, int64_t head_dim) {
  for (int64_t i = first; i < first + count; ++i) std::fill_n(x.row(i), head_dim, 0.0F);
}

// Takes one tile of queries of one head and one tile of keys, recomputes p and ds, and adds their
// contributions.
void backward_tile(const Operands& x, const Task& task, const QueryTile& tile, int64_t head, int64_t first,
                   int64_t keys, float* p, float* ds) {
  const int64_t key = tile.first_key + first, rows = tile.queries, dim = x.head_dim;
  const HeadMatrix q(x.q, head), d_out(x.d_out, head), dq(x.dq, head);
  const HeadMatrix k(x.k, task.kv_head), v(x.v, task.kv_head), dk(x.dk, task.kv_head), dv(x.dv, task.kv_head);
  cpu::multiply_tile(GemmForm::nt, rows, keys, dim, q.row(tile.query), q.stride, k.row(key), k.stride, p,
                     keys, false);
  cpu::multiply_tile(GemmForm::nt, rows, keys, dim, d_out.row(tile.query), d_out.stride, v.row(key), v.stride,
                     ds, keys, false);
  cpu::softmax_backward_tile({p, rows, keys, tile.visible_to_first - first, tile.window, x.score_scale},
                             tile.of_one_key, ds, x.log_sum_exp + tile.query * x.heads + head,
                             x.means + tile.query * x.heads + head, x.heads);
  if (task.wanted != Wanted::queries) {
    cpu::multiply_tile(GemmForm::tn, keys, dim, rows, p, keys, d_out.row(tile.query), d_out.stride,
                       dv.row(key), dv.stride, true);
    cpu::multiply_tile(GemmForm::tn, keys, dim, rows, ds, keys, q.row(tile.query), q.stride, dk.row(key),
                       dk.stride, true);
  }
  if (task.wanted != Wanted::keys)
    cpu::multiply_tile(GemmForm::nn, rows, dim, keys, ds, keys, k.row(key), k.stride, dq.row(tile.query),
                       dq.stride, first > 0);
}

// Does everything that a task owns, in a fixed order: keys, then heads of the group, then queries.
void run_task(const Operands& x, const Task& task, float* p, float* ds) {
  for (int64_t key_index = task.first_key_tile; key_index < task.last_key_tile; ++key_index) {
    const int64_t first = key_index * key_tile, keys_in_tile = std::min(key_tile, task.document.keys - first);
    if (task.wanted != Wanted::queries) {
      clear_rows({x.dk, task.kv_head}, task.document.key + first, keys_in_tile, x.head_dim);
      clear_rows({x.dv, task.kv_head}, task.document.key + first, keys_in_tile, x.head_dim);
    }
    for (int64_t head = task.kv_head * x.group; head < (task.kv_head + 1) * x.group; ++head) {
      for (int64_t i = task.first_query_tile; i < task.last_query_tile; ++i) {
        const QueryTile tile = task.document.tile(i);
        const int64_t keys = std::min(keys_in_tile, tile.keys - first);
        if (keys > 0) backward_tile(x, task, tile, head, first, keys, p, ds);
      }
    }
  }
}

}  // namespace

void CpuOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                       const AttentionSpans& spans, double score_scale, const Tensor& out,
                                       const Tensor& log_sum_exp, const Tensor& d_out, Tensor& dq, Tensor& dk,
                                       Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  if (sizes.head_dim == 0 || sizes.heads == 0) return;
  const Tensor means = empty({sizes.queries, sizes.heads}, Category::workspace);
  arena_.for_pieces(
      sizes.queries, cpu::rows_per_piece(sizes.heads * sizes.head_dim), [&](int64_t first, int64_t last) {
        for (int64_t t = first; t < last; ++t)
          cpu::head_dots(cpu::at(out, t), cpu::at(d_out, t), sizes.heads, sizes.head_dim, cpu::at(means, t));
      });
  std::vector<Task> tasks;
  for (const Document& document : cpu::documents_of(spans))
    for (int64_t kv_head = 0; kv_head < sizes.kv_heads; ++kv_head) add_tasks(document, kv_head, tasks);
  const Operands operands{q,
                          k,
                          v,
                          d_out,
                          dq,
                          dk,
                          dv,
                          log_sum_exp.data<float>(),
                          means.data<float>(),
                          sizes.heads,
                          sizes.heads / sizes.kv_heads,
                          sizes.head_dim,
                          static_cast<float>(score_scale)};
  arena_.for_each(static_cast<int64_t>(tasks.size()), [&](int64_t index) {
    const Task& task = tasks[static_cast<size_t>(index)];
    const Tensor tiles = empty(cpu::backward_tiles_of(task.document), Category::workspace);
    run_task(operands, task, tiles.data<float>(), tiles.data<float>() + tiles.dim(1));
  });
}

}  // namespace collie
