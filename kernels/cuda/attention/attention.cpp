// Chooses the kernel that computes attention, and gives it its tiles on the device.
#include "kernels/cuda/attention/attention.hpp"

#include "kernels/cuda/attention/kernels.hpp"
#include "kernels/cuda/memory/index_cache.hpp"

namespace collie::cuda {

namespace {

void check_head_dim(const AttentionViews& views) {
  COLLIE_ASSERT(views.head_dim <= largest_head_dim, "attention: head_dim {} on a GPU, must be at most {}",
                views.head_dim, largest_head_dim);
}

TilesOnDevice on_device(IndexCache& indices, const Documents& documents,
                        const std::vector<AttentionTile>& tiles) {
  return {reinterpret_cast<const AttentionTile*>(indices.on_device(words_of(tiles))),
          static_cast<int64_t>(tiles.size()),
          documents.causal && documents.window > 0 && documents.window < unlimited
              ? static_cast<int32_t>(documents.window)
              : unlimited};
}

bool empty(const AttentionViews& views) {
  return views.heads == 0 || views.head_dim == 0;
}

}  // namespace

void attention(CUstream_st* stream, IndexCache& indices, const AttentionViews& views,
               const Documents& documents) {
  check_head_dim(views);
  const auto tiles = tiles_of_queries(documents, forward_queries(views.q.element, views.head_dim));
  if (empty(views) || tiles.empty()) return;
  const auto run = views.q.element == Element::bf16 ? attention_bfloat16 : attention_float;
  run(stream, views, on_device(indices, documents, tiles));
}

void attention_backward(CUstream_st* stream, IndexCache& indices, const AttentionViews& views,
                        const Documents& documents, const Matrix& d_out, const Matrix& dq, const Matrix& dk,
                        const Matrix& dv, float* workspace) {
  check_head_dim(views);
  if (empty(views)) return;
  const auto run = views.q.element == Element::bf16 ? attention_backward_bfloat16 : attention_backward_float;
  const AttentionGradients gradients{d_out, dq, dk, dv, workspace};
  const int64_t rows = backward_rows(views.q.element, views.head_dim);
  attention_deltas(stream, views, d_out, workspace);
  if (const auto tiles = tiles_of_queries(documents, rows); !tiles.empty())
    run(stream, views, gradients, on_device(indices, documents, tiles), Side::queries);
  if (const auto tiles = tiles_of_keys(documents, rows); !tiles.empty())
    run(stream, views, gradients, on_device(indices, documents, tiles), Side::keys);
}

}  // namespace collie::cuda
