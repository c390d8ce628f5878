#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/attention_rows.hpp"
#include "kernels/cpu/attention_scores.hpp"
#include "kernels/cpu/attention_tiles.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/tile_product.hpp"

namespace collie {

using cpu::Document, cpu::FloatRows, cpu::HeadMatrix, cpu::key_tile, cpu::query_tile, cpu::QueryTile;

namespace {

// Computes one tile of queries of one head against all keys they see.
void attend(const QueryTile& tile, const HeadMatrix& q, const HeadMatrix& k, const HeadMatrix& v,
            int64_t head_dim, const cpu::TileScores& rules, const HeadMatrix& out, float* log_sum_exp,
            int64_t heads, cpu::Scratch scratch) {
  const int64_t most_keys = std::min(key_tile, tile.keys);
  float* const scores = scratch.take(tile.queries * most_keys);
  float* const factors = rules.drops ? scratch.take(tile.queries * most_keys) : nullptr;
  const FloatRows queries(q, tile.query, tile.queries, head_dim,
                          buffer_of(q, tile.queries, head_dim, scratch));
  const FloatRows attended(out, tile.query, tile.queries, head_dim,
                           buffer_of(out, tile.queries, head_dim, scratch));
  float* const keys_buffer = buffer_of(k, most_keys, head_dim, scratch);
  float* const values_buffer = buffer_of(v, most_keys, head_dim, scratch);
  queries.load();
  float largest[query_tile], sums[query_tile];
  std::fill_n(largest, tile.queries, -std::numeric_limits<float>::infinity());
  std::fill_n(sums, tile.queries, 0.0F);
  const int64_t begin = tile.first_seen_tile();
  for (int64_t first = begin; first < tile.keys; first += key_tile) {
    const int64_t keys = std::min(key_tile, tile.keys - first), key = tile.first_key + first;
    const FloatRows of_keys(k, key, keys, head_dim, keys_buffer);
    const FloatRows values(v, key, keys, head_dim, values_buffer);
    of_keys.load();
    values.load();
    cpu::multiply_tile(GemmForm::nt, tile.queries, keys, head_dim, queries.data, queries.stride, of_keys.data,
                       of_keys.stride, scores, keys, false);
    if (rules.cap > 0) cpu::cap_scores(scores, tile.queries * keys, rules.scale, rules.cap, nullptr);
    cpu::softmax_tile(
        {scores, tile.queries, keys, tile.visible_to_first - first, tile.window, rules.scale_of_softmax()},
        largest, sums, attended.data, attended.stride, head_dim);
    if (rules.drops) {
      cpu::weight_factors(rules.rows(tile.query, tile.queries, first, keys), rules.mask, factors);
      cpu::multiply_by(scores, factors, tile.queries * keys);
    }
    cpu::multiply_tile(GemmForm::nn, tile.queries, head_dim, keys, scores, keys, values.data, values.stride,
                       attended.data, attended.stride, first > begin);
  }
  cpu::softmax_finish(tile.queries, largest, sums, attended.data, attended.stride, head_dim, log_sum_exp,
                      heads);
  attended.store();
}

}  // namespace

void CpuOperations::attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                              const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  if (sizes.head_dim == 0 || sizes.heads == 0) return;
  struct Task {
    QueryTile tile;
    int64_t head;
    size_t document;
  };
  const std::vector<Document> documents = cpu::documents_of(spans);
  std::vector<Task> tasks;
  for (size_t d = 0; d < documents.size(); ++d)
    for (int64_t head = 0; head < sizes.heads; ++head)
      for (int64_t i = documents[d].query_tiles() - 1; i >= 0; --i)  // the long ones first
        tasks.push_back({documents[d].tile(i), head, d});
  arena_.for_each(static_cast<int64_t>(tasks.size()), [&](int64_t index) {
    const auto& [tile, head, document] = tasks[static_cast<size_t>(index)];
    const int64_t kv_head = head / (sizes.heads / sizes.kv_heads);
    const Tensor workspace = empty({cpu::forward_workspace(tile, scores, sizes.head_dim, dtype())},
                                   DType::f32, Category::workspace);
    attend(tile, {q, head}, {k, kv_head}, {v, kv_head}, sizes.head_dim,
           cpu::tile_scores(scores, document, head), {out, head},
           log_sum_exp.data<float>() + tile.query * sizes.heads + head, sizes.heads,
           {workspace.data<float>(), workspace.numel()});
  });
}

}  // namespace collie
