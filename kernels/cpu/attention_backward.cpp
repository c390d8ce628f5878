// The backward of attention. It recomputes the weights tile by tile (Dao, arXiv 2307.08691).
#include <algorithm>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/attention_rows.hpp"
#include "kernels/cpu/attention_scores.hpp"
#include "kernels/cpu/attention_tiles.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace collie {

using cpu::Document, cpu::FloatRows, cpu::HeadMatrix, cpu::key_tile, cpu::query_tile, cpu::QueryTile;

namespace {

enum class Wanted { all, keys, queries };

// The part of a document's tiles that a task works on: all queries × some keys, or some queries × all keys.
struct Task {
  Document document;
  size_t document_index;
  int64_t kv_head;
  Wanted wanted;
  int64_t first_key_tile, last_key_tile, first_query_tile, last_query_tile;
};

void add_tasks(const Document& document, size_t index, int64_t kv_head, std::vector<Task>& tasks) {
  const int64_t key_tiles = document.key_tiles(), query_tiles = document.query_tiles();
  if (cpu::is_one_task(document)) {
    tasks.push_back({document, index, kv_head, Wanted::all, 0, key_tiles, 0, query_tiles});
    return;
  }
  for (int64_t i = 0; i < key_tiles; ++i)
    tasks.push_back({document, index, kv_head, Wanted::keys, i, i + 1, 0, query_tiles});
  for (int64_t i = query_tiles - 1; i >= 0; --i)
    tasks.push_back({document, index, kv_head, Wanted::queries, 0, key_tiles, i, i + 1});
}

struct Operands {
  const Tensor &q, &k, &v, &d_out, &dq, &dk, &dv;
  const float* log_sum_exp;  // [queries, heads]
  const float* means;        // [queries, heads]: out · d_out
  int64_t heads, group, head_dim;
  const AttentionScores& scores;
};

// The workspace of a task. The buffers are used only for bfloat16.
struct Buffers {
  Buffers(const Operands& x, const Task& task, cpu::Scratch scratch);
  float *p, *ds;            // [queries, keys] of a tile: the weights, and the gradients of the scores
  float *slopes, *factors;  // the same, of a soft cap and of dropout
  float *q, *d_out, *k, *v, *dk, *dv;
  float* dq;  // [group, queries of the task, head_dim]
};

int64_t first_query(const Task& task) {
  return task.first_query_tile * query_tile;
}
int64_t queries_of(const Task& task) {
  return std::min(task.last_query_tile * query_tile, task.document.queries) - first_query(task);
}

Buffers::Buffers(const Operands& x, const Task& task, cpu::Scratch scratch) {
  const int64_t queries = std::min(query_tile, task.document.queries);
  const int64_t keys = std::min(key_tile, task.document.keys);
  p = scratch.take(queries * keys);
  ds = scratch.take(queries * keys);
  slopes = x.scores.soft_cap > 0 ? scratch.take(queries * keys) : nullptr;
  factors = x.scores.dropout > 0 ? scratch.take(queries * keys) : nullptr;
  const bool narrow = x.q.dtype() == DType::bf16;
  const auto rows = [&](int64_t count) { return narrow ? scratch.take(count * x.head_dim) : nullptr; };
  q = rows(queries);
  d_out = rows(queries);
  k = rows(keys);
  v = rows(keys);
  dk = rows(keys);
  dv = rows(keys);
  dq = task.wanted != Wanted::keys ? rows(x.group * queries_of(task)) : nullptr;
}

// dq of one head and one tile of queries. Its sums stay in the task's buffer until all keys are done.
FloatRows query_gradients(const Operands& x, const Task& task, const QueryTile& tile, int64_t head,
                          const Buffers& buffers) {
  const int64_t of_group = head - task.kv_head * x.group;
  const int64_t of_task = tile.query - task.document.query - first_query(task);
  float* const buffer =
      buffers.dq == nullptr ? nullptr : buffers.dq + (of_group * queries_of(task) + of_task) * x.head_dim;
  return {{x.dq, head}, tile.query, tile.queries, x.head_dim, buffer};
}

// Keys of one tile, their values, and the gradients of both.
struct KeyRows {
  KeyRows(const Operands& x, const Task& task, int64_t key, int64_t count, const Buffers& buffers)
      : k({x.k, task.kv_head}, key, count, x.head_dim, buffers.k),
        v({x.v, task.kv_head}, key, count, x.head_dim, buffers.v),
        dk({x.dk, task.kv_head}, key, count, x.head_dim, buffers.dk),
        dv({x.dv, task.kv_head}, key, count, x.head_dim, buffers.dv) {}
  FloatRows k, v, dk, dv;
};

// Takes one tile of queries of one head and one tile of keys, recomputes p and ds, and adds their
// contributions.
void backward_tile(const Operands& x, const Task& task, const QueryTile& tile, int64_t head, int64_t first,
                   int64_t keys, const KeyRows& of_keys, const Buffers& buffers) {
  const int64_t rows = tile.queries, dim = x.head_dim;
  const cpu::TileScores rules = cpu::tile_scores(x.scores, task.document_index, head);
  const FloatRows q({x.q, head}, tile.query, rows, dim, buffers.q);
  const FloatRows d_out({x.d_out, head}, tile.query, rows, dim, buffers.d_out);
  q.load();
  d_out.load();
  float *const p = buffers.p, *const ds = buffers.ds;
  cpu::multiply_tile(GemmForm::nt, rows, keys, dim, q.data, q.stride, of_keys.k.data, of_keys.k.stride, p,
                     keys, false);
  cpu::multiply_tile(GemmForm::nt, rows, keys, dim, d_out.data, d_out.stride, of_keys.v.data,
                     of_keys.v.stride, ds, keys, false);
  if (rules.cap > 0) cpu::cap_scores(p, rows * keys, rules.scale, rules.cap, buffers.slopes);
  if (rules.drops) {
    cpu::weight_factors(rules.rows(tile.query, rows, first, keys), rules.mask, buffers.factors);
    cpu::multiply_by(ds, buffers.factors, rows * keys);
  }
  cpu::softmax_backward_tile(
      {p, rows, keys, tile.visible_to_first - first, tile.window, rules.scale_of_softmax()}, tile.of_one_key,
      ds, x.log_sum_exp + tile.query * x.heads + head, x.means + tile.query * x.heads + head, x.heads);
  if (rules.cap > 0) cpu::multiply_by(ds, buffers.slopes, rows * keys);
  if (rules.drops) cpu::multiply_by(p, buffers.factors, rows * keys);
  if (task.wanted != Wanted::queries) {
    cpu::multiply_tile(GemmForm::tn, keys, dim, rows, p, keys, d_out.data, d_out.stride, of_keys.dv.data,
                       of_keys.dv.stride, true);
    cpu::multiply_tile(GemmForm::tn, keys, dim, rows, ds, keys, q.data, q.stride, of_keys.dk.data,
                       of_keys.dk.stride, true);
  }
  if (task.wanted != Wanted::keys) {
    const FloatRows dq = query_gradients(x, task, tile, head, buffers);
    cpu::multiply_tile(GemmForm::nn, rows, dim, keys, ds, keys, of_keys.k.data, of_keys.k.stride, dq.data,
                       dq.stride, first > tile.first_seen_tile());
  }
}

template <class F>
void for_each_query_tile(const Operands& x, const Task& task, F f) {
  for (int64_t head = task.kv_head * x.group; head < (task.kv_head + 1) * x.group; ++head)
    for (int64_t i = task.first_query_tile; i < task.last_query_tile; ++i) f(task.document.tile(i), head);
}

// Does everything that a task owns, in a fixed order: keys, then heads of the group, then queries.
void run_task(const Operands& x, const Task& task, const Buffers& buffers) {
  for (int64_t key_index = task.first_key_tile; key_index < task.last_key_tile; ++key_index) {
    const int64_t first = key_index * key_tile, keys_in_tile = std::min(key_tile, task.document.keys - first);
    const KeyRows rows(x, task, task.document.key + first, keys_in_tile, buffers);
    rows.k.load();
    rows.v.load();
    if (task.wanted != Wanted::queries) {
      rows.dk.clear();
      rows.dv.clear();
    }
    for_each_query_tile(x, task, [&](const QueryTile& tile, int64_t head) {
      const int64_t keys = std::min(keys_in_tile, tile.keys - first);
      if (keys > 0 && first >= tile.first_seen_tile())
        backward_tile(x, task, tile, head, first, keys, rows, buffers);
    });
    if (task.wanted != Wanted::queries) {
      rows.dk.store();
      rows.dv.store();
    }
  }
  if (task.wanted == Wanted::keys) return;
  for_each_query_tile(x, task, [&](const QueryTile& tile, int64_t head) {
    query_gradients(x, task, tile, head, buffers).store();
  });
}

}  // namespace

void CpuOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                       const AttentionSpans& spans, const AttentionScores& scores,
                                       const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                                       Tensor& dq, Tensor& dk, Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  if (sizes.head_dim == 0 || sizes.heads == 0) return;
  const Tensor means = empty({sizes.queries, sizes.heads}, DType::f32, Category::workspace);
  arena_.for_pieces(sizes.queries, cpu::rows_per_piece(sizes.heads * sizes.head_dim),
                    [&](int64_t first, int64_t last) {
                      for (int64_t t = first; t < last; ++t)
                        cpu::head_dots(cpu::at(out, t), cpu::at(d_out, t), sizes.heads, sizes.head_dim,
                                       cpu::float_at(means, t));
                    });
  std::vector<Task> tasks;
  const std::vector<Document> documents = cpu::documents_of(spans);
  for (size_t d = 0; d < documents.size(); ++d)
    for (int64_t kv_head = 0; kv_head < sizes.kv_heads; ++kv_head) add_tasks(documents[d], d, kv_head, tasks);
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
                          scores};
  arena_.for_each(static_cast<int64_t>(tasks.size()), [&](int64_t index) {
    const Task& task = tasks[static_cast<size_t>(index)];
    const Tensor workspace =
        empty({cpu::backward_workspace(task.document, scores, operands.group, sizes.head_dim, dtype())},
              DType::f32, Category::workspace);
    run_task(operands, task, Buffers(operands, task, {workspace.data<float>(), workspace.numel()}));
  });
}

}  // namespace collie
