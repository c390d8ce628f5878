#include "kernels/cuda/cudnn/attention_graph.hpp"

namespace collie::cuda {

namespace {

namespace id = cudnn_tensor;
using Node = CudnnGraph::Node;
using Dims = CudnnGraph::Dims;

// The common part of forward and backward. All tensors are [documents, heads, rows, columns].
class Builder {
 public:
  Builder(const Cudnn& library, const CudnnAttentionShape& shape)
      : shape_(shape),
        graph_(library),
        query_lengths_(lengths(id::query_lengths)),
        key_lengths_(lengths(id::key_lengths)),
        scale_(graph_.value(id::score_scale, CUDNN_DATA_FLOAT)) {}

  CudnnGraph forward() {
    const Node q = queries(id::q, shape_.strides.q), k = keys_transposed(id::k, shape_.strides.k),
               v = keys(id::v, shape_.strides.v), out = queries(id::out, shape_.strides.out),
               log_sum_exp = statistics(id::log_sum_exp, id::log_sum_exp);
    Node scores = graph_.product(q, k, {query_lengths_, key_lengths_, {}}, true);
    scores = masked(graph_.pointwise(CUDNN_POINTWISE_MUL, scores, scale_, CUDNN_DATA_FLOAT));
    const Node largest = graph_.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, statistics_dims());
    const Node differences = graph_.pointwise(CUDNN_POINTWISE_SUB, scores, largest, CUDNN_DATA_FLOAT);
    const Node exponentials = graph_.pointwise(CUDNN_POINTWISE_EXP, differences, {}, CUDNN_DATA_FLOAT);
    const Node sums = graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, exponentials, statistics_dims());
    const Node logarithms = graph_.pointwise(CUDNN_POINTWISE_LOG, sums, {}, CUDNN_DATA_FLOAT);
    graph_.pointwise(CUDNN_POINTWISE_ADD, largest, logarithms, CUDNN_DATA_FLOAT, log_sum_exp);
    const Node weights = graph_.pointwise(CUDNN_POINTWISE_DIV, exponentials, sums, CUDNN_DATA_BFLOAT16);
    graph_.product_into(weights, v, {query_lengths_, {}, key_lengths_}, out);
    return std::move(graph_);
  }

  CudnnGraph backward() {
    const auto& strides = shape_.strides;
    const Node q = queries(id::q, strides.q), k = keys_transposed(id::k, strides.k),
               v = keys_transposed(id::v, strides.v), out = queries(id::out, strides.out),
               d_out = queries(id::d_out, strides.d_out),
               log_sum_exp = statistics(id::log_sum_exp, id::log_sum_exp);
    const Node deltas = of_outputs(out, d_out);

    Node scores = graph_.product(q, k, {query_lengths_, key_lengths_, {}}, false);
    scores = graph_.pointwise(CUDNN_POINTWISE_MUL, scores, scale_, CUDNN_DATA_FLOAT);
    scores = masked(graph_.pointwise(CUDNN_POINTWISE_SUB, scores, log_sum_exp, CUDNN_DATA_FLOAT));
    const Node weights = graph_.pointwise(CUDNN_POINTWISE_EXP, scores, {}, CUDNN_DATA_FLOAT);
    of_keys(weights, d_out, id::dv, strides.dv, id::dv_of_all_heads);

    Node d_scores = graph_.product(d_out, v, {query_lengths_, key_lengths_, {}}, false);
    d_scores = graph_.pointwise(CUDNN_POINTWISE_SUB, d_scores, deltas, CUDNN_DATA_FLOAT);
    d_scores = graph_.pointwise(CUDNN_POINTWISE_MUL, d_scores, weights, CUDNN_DATA_FLOAT);
    d_scores = graph_.pointwise(CUDNN_POINTWISE_MUL, d_scores, scale_, CUDNN_DATA_FLOAT);
    of_keys(d_scores, q, id::dk, strides.dk, id::dk_of_all_heads);
    of_queries(d_scores, k);
    return std::move(graph_);
  }

 private:
  Node lengths(int64_t number) {
    return graph_.tensor(number, {shape_.documents, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_INT32);
  }
  Node offsets(int64_t matrix) {
    return graph_.tensor(id::offsets + matrix, {shape_.documents + 1, 1, 1, 1}, {1, 1, 1, 1},
                         CUDNN_DATA_INT32);
  }
  Node queries(int64_t number, int64_t stride) {
    return graph_.tensor(number, {shape_.documents, shape_.heads, shape_.queries, shape_.head_dim},
                         {shape_.queries * stride, shape_.head_dim, stride, 1}, CUDNN_DATA_BFLOAT16,
                         offsets(number));
  }
  Dims key_dims() const { return {shape_.documents, shape_.kv_heads, shape_.keys, shape_.head_dim}; }
  Dims key_strides(int64_t stride) const { return {shape_.keys * stride, shape_.head_dim, stride, 1}; }
  Node keys(int64_t number, int64_t stride) {
    return graph_.tensor(number, key_dims(), key_strides(stride), CUDNN_DATA_BFLOAT16, offsets(number));
  }
  Node keys_transposed(int64_t number, int64_t stride) {
    const Node starts = offsets(number);
    if (number == id::k) k_offsets_ = starts;
    return graph_.tensor(number, {shape_.documents, shape_.kv_heads, shape_.head_dim, shape_.keys},
                         {shape_.keys * stride, shape_.head_dim, 1, stride}, CUDNN_DATA_BFLOAT16, starts);
  }
  Dims statistics_dims() const { return {shape_.documents, shape_.heads, shape_.queries, 1}; }
  Node statistics(int64_t number, int64_t starts) {
    if (number == starts) statistics_offsets_ = offsets(starts);
    return graph_.tensor(number, statistics_dims(), {shape_.queries * shape_.heads, 1, shape_.heads, 1},
                         CUDNN_DATA_FLOAT, statistics_offsets_);
  }

  Node kept(const Node& scores, const Node& keep, int64_t minus_infinity) {
    return graph_.select(scores, graph_.value(minus_infinity, CUDNN_DATA_FLOAT), keep);
  }

  Node masked(Node scores) {
    scores = without_padding(scores);
    if (shape_.mask == CudnnMask::none) return scores;
    scores = causal(scores);
    return shape_.window ? in_window(scores) : scores;
  }

  Node without_padding(const Node& scores) {
    const Node row = graph_.index(scores, 2, CUDNN_DATA_INT32, CUDNN_DATA_INT32),
               column = graph_.index(scores, 3, CUDNN_DATA_INT32, CUDNN_DATA_INT32);
    const Node is_query = graph_.pointwise(CUDNN_POINTWISE_CMP_LT, row, query_lengths_, CUDNN_DATA_BOOLEAN),
               is_key = graph_.pointwise(CUDNN_POINTWISE_CMP_LT, column, key_lengths_, CUDNN_DATA_BOOLEAN);
    return kept(scores, graph_.pointwise(CUDNN_POINTWISE_LOGICAL_AND, is_query, is_key, CUDNN_DATA_BOOLEAN),
                id::minus_infinity);
  }

  Node causal(const Node& scores) {
    const bool last = shape_.mask == CudnnMask::causal_last;
    const cudnnDataType_t computed_in = last ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT;
    Node row = graph_.index(scores, 2, CUDNN_DATA_INT32, computed_in);
    if (last) {
      row = graph_.pointwise(CUDNN_POINTWISE_ADD, row, key_lengths_, CUDNN_DATA_INT32);
      row = graph_.pointwise(CUDNN_POINTWISE_SUB, row, query_lengths_, CUDNN_DATA_INT32);
    }
    const Node column = graph_.index(scores, 3, CUDNN_DATA_INT32, computed_in);
    return kept(scores, graph_.pointwise(CUDNN_POINTWISE_CMP_GE, row, column, CUDNN_DATA_BOOLEAN),
                id::minus_infinity_causal);
  }

  // column + window > row, where the row is counted from the document's first key.
  Node in_window(const Node& scores) {
    const bool last = shape_.mask == CudnnMask::causal_last;
    const cudnnDataType_t type = last ? CUDNN_DATA_INT32 : CUDNN_DATA_FLOAT;
    const Node row = graph_.index(scores, 2, type, type);
    Node column = graph_.index(scores, 3, type, type);
    column = graph_.pointwise(CUDNN_POINTWISE_ADD, column, graph_.value(id::window, type), type);
    if (last) {
      column = graph_.pointwise(CUDNN_POINTWISE_SUB, column, key_lengths_, type);
      column = graph_.pointwise(CUDNN_POINTWISE_ADD, column, query_lengths_, type);
    }
    return kept(scores, graph_.pointwise(CUDNN_POINTWISE_CMP_GT, column, row, CUDNN_DATA_BOOLEAN),
                id::minus_infinity_window);
  }

  // Computes the deltas, which are stored.
  Node of_outputs(const Node& out, const Node& d_out) {
    const Node products = graph_.pointwise(CUDNN_POINTWISE_MUL, d_out, out, CUDNN_DATA_FLOAT);
    const Node sums = graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, products, statistics_dims());
    return graph_.pointwise(CUDNN_POINTWISE_MUL, sums, graph_.value(id::one, CUDNN_DATA_FLOAT),
                            CUDNN_DATA_FLOAT, statistics(id::deltas, id::log_sum_exp));
  }

  // gradient [keys] = weightsᵀ · of_query, summed over the heads that share a key head.
  void of_keys(const Node& weights, const Node& of_query, int64_t number, int64_t stride,
               int64_t number_of_all_heads) {
    const Node transposed = graph_.reshape(
        weights, {shape_.documents, shape_.heads, shape_.keys, shape_.queries},
        {shape_.heads * shape_.queries * shape_.keys, shape_.queries * shape_.keys, 1, shape_.keys},
        CUDNN_DATA_BFLOAT16);
    const CudnnGraph::Limits limits{key_lengths_, {}, query_lengths_};
    const Node starts = offsets(number);
    const Node gradient = graph_.tensor(number, key_dims(), key_strides(stride), CUDNN_DATA_BFLOAT16, starts);
    if (shape_.group() == 1) return graph_.product_into(transposed, of_query, limits, gradient);
    // The engines find a document in this tensor at its offset in `gradient`, times the heads that share.
    const Node of_all_heads =
        graph_.tensor(number_of_all_heads, {shape_.documents, shape_.heads, shape_.keys, shape_.head_dim},
                      key_strides(stride * shape_.group()), CUDNN_DATA_BFLOAT16, starts);
    graph_.product_into(transposed, of_query, limits, of_all_heads);
    graph_.reduce_into(CUDNN_REDUCE_TENSOR_ADD, of_all_heads, gradient);
  }

  void of_queries(const Node& d_scores, const Node& k) {
    const Node seen =
        graph_.reshape(k, key_dims(), key_strides(shape_.strides.k), CUDNN_DATA_BFLOAT16, k_offsets_);
    const CudnnGraph::Limits limits{query_lengths_, {}, key_lengths_};
    const Node starts = offsets(id::dq);
    const Dims dims{shape_.documents, shape_.heads, shape_.queries, shape_.head_dim},
        strides{shape_.queries * shape_.strides.dq, shape_.head_dim, shape_.strides.dq, 1};
    const Node dq = graph_.tensor(id::dq, dims, strides, CUDNN_DATA_BFLOAT16, starts);
    if (!shape_.any_order) return graph_.product_into(d_scores, seen, limits, dq);
    const Node sums = graph_.tensor(id::dq_sums, dims, strides, CUDNN_DATA_FLOAT, starts);
    graph_.product_into(d_scores, seen, limits, sums);
    graph_.pointwise(CUDNN_POINTWISE_IDENTITY, sums, {}, CUDNN_DATA_FLOAT, dq);
  }

  const CudnnAttentionShape& shape_;
  CudnnGraph graph_;
  Node query_lengths_, key_lengths_, scale_;
  std::optional<Node> k_offsets_, statistics_offsets_;
};

}  // namespace

CudnnGraph cudnn_attention(const Cudnn& library, const CudnnAttentionShape& shape) {
  return Builder(library, shape).forward();
}

CudnnGraph cudnn_attention_backward(const Cudnn& library, const CudnnAttentionShape& shape) {
  return Builder(library, shape).backward();
}

}  // namespace collie::cuda
