// The operation table lists everything a device can do. Models call nothing else.
//
// Each rank has one table, which knows the rank's memory account and threads. The implementations are cpu/
// (float32 and bfloat16), reference/ (double, slow and obvious), meta/ (memory accounts alone) and cuda/ (one
// GPU; through kernels/gpu.hpp). All matrices are row-major. "accumulate" adds to what the output holds
// instead of overwriting it. Outputs may not alias inputs unless the operation's comment allows it. Every
// operation accepts zero tokens. Results depend on shapes and values alone, never on the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/activation.hpp"
#include "kernels/clip_factor.hpp"
#include "kernels/deferred.hpp"
#include "kernels/graph_counts.hpp"
#include "kernels/matrix_tiles.hpp"
#include "kernels/offload.hpp"
#include "kernels/quantised_matrix.hpp"
#include "kernels/quantised_states.hpp"
#include "kernels/rounding.hpp"
#include "kernels/tensor.hpp"
#include "kernels/update_rule.hpp"

namespace collie {

// Says which operands of C[m, n] are stored transposed.
enum class GemmForm {
  nn,  // A [m, k], B [k, n]
  nt,  // A [m, k], B [n, k]: x · Wᵀ, the forward of a linear layer
  tn,  // A [k, m], B [k, n]: dyᵀ · x, the weight gradient of a linear layer
};

// Says which channels of a head are turned together by a rotary position.
enum class RotaryPairs : uint8_t {
  halves,      // channel j of the rotated part's first half and channel j of its second (Llama, GPT-NeoX)
  neighbours,  // channels 2 j and 2 j + 1 (RoFormer, GPT-J, ChatGLM)
};

// Says where documents start in a row of packed tokens: S documents have S + 1 offsets, from 0 to the number
// of tokens. In training, queries and keys are the same tokens. With a KV cache a document has more keys than
// queries, and its last query stands at its last key. If not causal, every query of a document sees all of
// the document's keys. There may be fewer keys than queries, but not none (a chunk of queries against an
// earlier chunk of keys). Where such a chunk of queries has a window, it is causal, and its last query stands
// `past_keys` tokens past the last key: query i of Q stands at key K - Q + i + past_keys, of K.
struct AttentionSpans {
  std::vector<int32_t> query_starts;  // [documents + 1]
  std::vector<int32_t> key_starts;    // [documents + 1]
  bool causal = true;
  int64_t window = 0;  // causal only: the most keys a query sees, its own key included and last; 0: no limit
  int64_t past_keys = 0;  // of every document; less than the window, so that the last query sees a key
  // For the backward: the documents whose queries also see other keys, which are not among the given ones.
  // Empty means none. With past_keys all do: queries past the last key see their own, at least.
  std::vector<bool> more_keys = {};  // [documents]

  // The number of queries of a document that see one key and no other. They are the document's first queries.
  // The weight of that key is 1 whatever the score is.
  int64_t queries_of_one_key(size_t document) const;
};

// Says how attention makes weights of the products q · k.
struct AttentionScores {
  AttentionScores(double scale_of_products) : scale(scale_of_products) {}

  double scale;         // a score is scale · q · k
  double soft_cap = 0;  // c > 0: a score s becomes c · tanh(s / c) (Gemma 2, arXiv 2408.00118); 0: none
  // The rate, in [0, 1], at which weights are dropped, as in `dropout` below. The weights were normalised
  // over all keys before, and log_sum_exp is over all of them. Which weights are dropped depends on the key,
  // the numbers of the query's row and of the head, and the number of the attended key alone
  // (kernels/dropout_mask.hpp), so the mask is the same however queries, keys and heads are shared among
  // ranks. The spans must outlive the call.
  double dropout = 0;
  uint64_t dropout_key = 0;
  std::span<const uint64_t> query_rows;  // [queries] their numbers; needed for dropout alone, as are:
  std::span<const uint64_t> first_keys;  // [documents] the first key's number, below 2^31; the others follow
  int64_t first_head = 0;                // the number of the first of the heads that are given
};

// Says which of a list of values are added, and in which order. Sum i adds the runs [starts[i], starts[i +
// 1]). Run r has the counts[r] values from firsts[r] on.
struct OrderedRuns {
  std::vector<int32_t> starts;          // [sums + 1]
  std::vector<int32_t> firsts, counts;  // [runs]
};

// Says which of a list of values are added as binary trees. Sum i adds the nodes [starts[i], starts[i + 1]).
// Node r is itself the tree_sum() (kernels/tree_sum.hpp) of counts[r] values from firsts[r] on. Its sum takes
// it as a tree of height heights[r]. Two neighbours of the same height are replaced by their sum, which is
// one higher. When all nodes are there, the remaining trees are added from the right. No node is higher than
// the trees to its left.
struct TreeRuns {
  std::vector<int32_t> starts;                   // [sums + 1]
  std::vector<int32_t> firsts, counts, heights;  // [nodes]
};

// One range of elements that an update rule works on. The tensors are contiguous and of equal numel, each in
// dtype() or accumulation_dtype(). The states are of one dtype, which may also be bfloat16 in a table of
// float32; those that the formula has wide are of accumulation_dtype().
struct UpdateTensors {
  Tensor weight, gradient;
  std::vector<Tensor> states;  // in the order of the formula's
  Tensor rounded;              // if defined: gets the new weight in dtype(), rounded to nearest
  uint64_t first_index = 0;    // the start of the range among all elements that are rounded under one key
};

// One step of an elementwise rule (kernels/update_rule.hpp).
struct ElementwiseUpdate {
  int formula = 0;
  UpdateFactors factors{};
  Tensor gradient_factor;  // f64 [1]: multiplies the gradient first (clipping); undefined: 1
  Rounding rounding;       // of weights and states in bfloat16

  // The gradient_factor, for tables whose host can read it; 1 if there is none.
  double gradient_factor_on_host() const;
};

class Operations {
 public:
  Operations(DType dtype, std::shared_ptr<MemoryAccount> account);
  virtual ~Operations() = default;
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  DType dtype() const { return dtype_; }  // of weights, activations and their gradients
  // The dtype of tensors that need more digits than bfloat16 has: statistics (inverse_rms, log_sum_exp),
  // rotary tables and, if the owner wants it, weights' gradients and optimizer states. It is the same as
  // dtype() unless that is bfloat16.
  DType accumulation_dtype() const { return dtype_ == DType::bf16 ? DType::f32 : dtype_; }
  const std::shared_ptr<MemoryAccount>& account() const { return account_; }
  // The number of tokens whose logits over the whole vocabulary a head should hold at a time. It decides how
  // the head's weight gradient is summed, so it depends on the device and the vocabulary alone.
  virtual int64_t head_chunk(int64_t /*vocab*/) const { return 256; }
  // False if tensors are counted and not computed (kernels/meta). It is of no use to make values for them.
  virtual bool has_values() const { return true; }

  // --- memory
  virtual Tensor empty(const Shape& shape, DType dtype, Category category) = 0;
  Tensor empty(const Shape& shape, Category category) { return empty(shape, dtype_, category); }
  // A tensor in host memory. The account is charged for it only if the host's memory is the device's own. It
  // can be computed with like any other tensor, but slowly. It is meant for tensors that are used once per
  // step.
  virtual Tensor empty_on_host(const Shape& shape, DType dtype, Category category) {
    return empty(shape, dtype, category);
  }
  // Sends tensors that are not needed for a while to the host, where the account is not charged for them.
  // They must be contiguous or undefined, and the caller gives them away. The copies run concurrently with
  // the queued work. By default the tensors stay where they are.
  virtual std::unique_ptr<Offloaded> offload(std::vector<Tensor> tensors);
  virtual void fill(Tensor& x, double value) = 0;
  virtual void copy(const Tensor& from, Tensor& to) = 0;  // same shape and dtype; row strides may differ
  // Converts dtype() to accumulation_dtype() or back (rounded to nearest even); the shapes are the same. The
  // default is a copy, for tables that have one dtype.
  virtual void convert(const Tensor& from, Tensor& to);
  // These two move host values in and out, converted to and from the tensor's dtype. x may be row-strided.
  virtual void upload(std::span<const float> values, Tensor& x) = 0;
  virtual void download(const Tensor& x, std::span<float> values) = 0;
  // These two move the same bits to contiguous host memory, charged to `category` of the account, and back
  // from there (same shape and dtype). The default copies, for tables that use the host's memory.
  virtual Tensor to_host(const Tensor& x, Category category);
  virtual void from_host(const Tensor& values, Tensor& x);

  // Host work: calls f(first, last) for consecutive pieces of [0, count), in any order, on the threads that
  // the table has for it. Each piece is `piece` long, except the last. By default they run on the caller's
  // thread.
  using OnPiece = std::function<void(int64_t first, int64_t last)>;
  virtual void for_host_pieces(int64_t count, int64_t piece, const OnPiece& f);

  // Calls `work`. If the device can, it gets what `work` queues as graphs, which are kept for the next call
  // with the same `task`: the bits are the same, with fewer launches. Calls must not be nested. The default
  // only calls `work`.
  virtual void as_graphs(int64_t /*task*/, const std::function<void()>& work) { work(); }
  virtual GraphCounts graph_counts() const { return {}; }

  // Waits until all queued work is done, if the device works asynchronously.
  virtual void synchronize() {}
  // Reads the values, f64 [n], as they are when all queued work is done.
  virtual Deferred<std::vector<double>> read(const Tensor& values);
  // Calls f once, when all queued work is done, and at the latest when the table is destroyed; f is not
  // called if the device has failed. f runs on any thread, and there it should do no more than send a
  // message. The default calls f at once.
  virtual void when_done(std::function<void()> f) { f(); }
  // Throws RunError if the device has failed in queued work. Waits for nothing.
  virtual void check_device() {}

  // --- release and acquire, between the ranks of a process, each of which has its own table. The sender
  // releases a tensor and no longer uses it, but the device may still be working on it. The receiver acquires
  // the tensor: the work that it queues begins after the sender's work, its account pays, and it gets a
  // tensor of its own device.
  virtual void release(Tensor& /*x*/) {}
  virtual Tensor acquire(Tensor x, Category category) {
    x.charge_to(account_, category);
    return x;
  }

  // --- elementwise; shapes equal
  virtual void add(const Tensor& a, const Tensor& b, Tensor& out) = 0;  // out may be a or b
  virtual void scale(Tensor& x, double factor) = 0;
  // x /= max(sqrt(square), least); square f64 [1]
  virtual void divide_by_root(Tensor& x, const Tensor& square, double least) = 0;
  // x = min(max(x, -limit), limit), as PyTorch's clamp_: an infinity becomes the limit, NaN stays NaN. limit
  // is at least 0, and is rounded as x's dtype holds it.
  virtual void clamp(Tensor& x, double limit) = 0;
  virtual void add_row(Tensor& x, const Tensor& row) = 0;                      // x [m, n] += row [n]
  virtual void column_sum(const Tensor& x, Tensor& out, bool accumulate) = 0;  // [m, n] -> [n], rows in order
  // out[i, j] = x[i, j] · factors[j]; x, out [m, n]; factors [n] in dtype() or accumulation_dtype(). out may
  // be x.
  virtual void scale_columns(const Tensor& x, const Tensor& factors, Tensor& out) = 0;
  // out[j] (+)= the sum of a[i, j] · b[i, j] over the rows i, in order; a, b [m, n]; out [n] in dtype() or
  // accumulation_dtype(). It is the gradient of scale_columns' factors.
  virtual void column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) = 0;
  // sums[i] = the sum of x[i, j]² over the columns j; x [m, n]; sums [m] in accumulation_dtype()
  virtual void row_sums_of_squares(const Tensor& x, Tensor& sums) = 0;
  // x[i] = 1 / sqrt(x[i]), and 0 where x[i] is 0; x [n] in accumulation_dtype()
  virtual void inverse_roots(Tensor& x) = 0;

  // --- matrices; A, B, C may be row-strided. A and B are of dtype(), or all three of accumulation_dtype().
  virtual void gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) = 0;
  // c [m, n] = the product + row [n], rounded once if the device can do both at a time. The default is gemm,
  // then add_row.
  virtual void gemm_add_row(GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row, Tensor& c);

  // Columns [first_column, first_column + columns) of rows [first_row, first_row + rows) of what is held of a
  // matrix of codes (kernels/quantised_matrix.hpp), as numbers: tile [rows, columns] in dtype(), which may be
  // row-strided. They are computed in float32 (the reference: in double) and rounded once.
  virtual void dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                          Tensor& tile) = 0;

  // --- embedding: table [vocab, hidden], ids i32 [tokens] on the host, out [tokens, hidden]. An id of -1 is
  // not in this shard of the table: its row of out is 0, and it adds nothing to d_table.
  virtual void embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) = 0;
  // d_table [vocab, hidden]; the rows of one id are summed in token order.
  virtual void embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                                  bool accumulate) = 0;

  // --- RMSNorm (Zhang & Sennrich, arXiv 1910.07467): y = x / sqrt(mean(x²) + eps) · (weight_offset + weight)
  // x, y [tokens, hidden]; weight [hidden]; inverse_rms [tokens] is kept for backward. weight_offset is 0, or
  // 1 for weights that are stored as differences from 1 (Gemma, arXiv 2403.08295). It is added in the
  // accumulation dtype.
  virtual void rms_norm(const Tensor& x, const Tensor& weight, double weight_offset, double eps, Tensor& y,
                        Tensor& inverse_rms) = 0;
  // The norm of a sum that is also an output: sum = x + residual, as stored, and y is the norm of sum. sum
  // may be x or residual. The bits are those of add, then rms_norm; the default calls these two.
  virtual void add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                            double weight_offset, double eps, Tensor& sum, Tensor& y, Tensor& inverse_rms);
  // d_residual [tokens, hidden] is what x's other use, as a residual, adds to dx; it is undefined if there is
  // none. dx may be d_residual.
  virtual void rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                       double weight_offset, const Tensor& inverse_rms,
                                       const Tensor& d_residual, Tensor& dx) = 0;
  virtual void rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                        Tensor& d_weight, bool accumulate) = 0;

  // --- LayerNorm (Ba et al., arXiv 1607.06450): y = (x - mean) / sqrt(variance + eps) · weight + bias, with
  // the mean and the (biased) variance of a row of x
  // x, y [tokens, hidden]; weight, bias [hidden]; bias is undefined if there is none. statistics [tokens, 2]
  // in accumulation_dtype() is kept for backward: the mean and 1 / sqrt(variance + eps).
  virtual void layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& y,
                          Tensor& statistics) = 0;
  // As add_rms_norm: sum = x + residual, as stored, and y is the norm of sum. sum may be x or residual. The
  // bits are those of add, then layer_norm; the default calls these two.
  virtual void add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                              const Tensor& bias, double eps, Tensor& sum, Tensor& y, Tensor& statistics);
  // d_residual and dx are as in rms_norm_backward_input.
  virtual void layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                         const Tensor& statistics, const Tensor& d_residual, Tensor& dx) = 0;
  // The gradient of the bias is the column_sum of dy.
  virtual void layer_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                          Tensor& d_weight, bool accumulate) = 0;

  // --- rotary positions (Su et al., arXiv 2104.09864), in place
  // x [tokens, heads, head_dim] may be row-strided; cosines, sines [max_positions, rotated / 2]; positions
  // [tokens] on the host. The first `rotated` channels of each head are rotated, the others are left as they
  // are. `pairs` says which two of them column j of the tables turns. `inverse` rotates back, which is the
  // backward of the rotation.
  virtual void rope(Tensor& x, const Tensor& cosines, const Tensor& sines, std::span<const int32_t> positions,
                    bool inverse, RotaryPairs pairs = RotaryPairs::halves) = 0;

  // --- attention within each document, causal or not, which never materialises the score matrix (Dao, arXiv
  // 2307.08691). q, out [queries, heads, head_dim]; k, v [keys, kv_heads, head_dim]; all may be row-strided.
  // heads is a multiple of kv_heads, and query head h reads key head h / (heads / kv_heads). log_sum_exp
  // [queries, heads] is kept for backward.
  virtual void attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                         const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp) = 0;
  // Overwrites dq, dk, dv, which may be row-strided. The weights are exp(score - log_sum_exp). So the keys
  // may be a part of those that out and log_sum_exp were taken over (spans.more_keys says so). Then dk and dv
  // are those keys' own, and the dq of all parts add up to the dq of the whole. The score of a query that
  // sees one key has a gradient of exactly zero. Otherwise rounding noise would be the whole of a gradient
  // that should be zero, and an optimizer that divides by the gradient's size would make full steps of it.
  virtual void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                  const AttentionSpans& spans, const AttentionScores& scores,
                                  const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                                  Tensor& dq, Tensor& dk, Tensor& dv) = 0;
  // Merges attention of the same queries over two disjoint sets of keys into attention over both (Liu et al.,
  // arXiv 2310.01889), in place. With l = log_sum_exp, m = part_log_sum_exp and n = log(e^l + e^m), out
  // becomes e^(l - n) · out + e^(m - n) · part, and log_sum_exp becomes n. out, part [queries, heads,
  // head_dim] may be row-strided; log_sum_exp, part_log_sum_exp [queries, heads]. A logarithm of -infinity
  // stands for no keys, and the values of out or part that belong to it are not read.
  virtual void merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                               const Tensor& part_log_sum_exp) = 0;

  // --- activations (kernels/activation.hpp); all tensors [tokens, width]
  // Gated linear units (Shazeer, arXiv 2002.05202): out = activation(gate) · up. With silu it is SwiGLU, with
  // gelu or gelu_tanh GeGLU, with relu ReGLU.
  virtual void gated(Activation activation, const Tensor& gate, const Tensor& up, Tensor& out) = 0;
  virtual void gated_backward(Activation activation, const Tensor& gate, const Tensor& up,
                              const Tensor& d_out, Tensor& d_gate, Tensor& d_up) = 0;
  virtual void activate(Activation activation, const Tensor& x, Tensor& out) = 0;  // out may be x
  // dx = d_out · activation'(x); dx may be d_out.
  virtual void activate_backward(Activation activation, const Tensor& x, const Tensor& d_out, Tensor& dx) = 0;

  // --- dropout (Srivastava et al., JMLR 15, 2014): out = 0 if an element is dropped, else x / (1 - rate)
  // x, out [tokens, width]; rate in [0, 1]; rows [tokens] on the host are the numbers of the rows of x in the
  // whole of which x may be a part; first_column is the number of its first column there, at least 0. Which
  // elements are dropped depends on the key, the row's and the column's number alone
  // (kernels/dropout_mask.hpp). So the mask is the same on every device, and on whichever rank an element is
  // computed. It is its own backward: d_x is the dropout of d_out. out may be x.
  virtual void dropout(const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows,
                       int64_t first_column, Tensor& out) = 0;

  // --- loss: softmax cross-entropy fused with its gradient, on one chunk of tokens
  // logits [chunk, vocab] is overwritten with d(loss)/d(logits) = (softmax - onehot) · gradient_scale. labels
  // [chunk] are on the host; -100 means not a target: no loss, zero gradient.
  // The losses over the targets are summed in double, in token order, and the sum is added to loss_sum f64
  // [1].
  virtual void cross_entropy(Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
                             Tensor& loss_sum) = 0;

  // --- the same loss over a sharded vocabulary (Shoeybi et al., arXiv 1909.08053): logits [chunk, width] are
  // those of the ids [first, first + width); labels are ids of the whole vocabulary, or -100. The caller must
  // make sure that some shard has each label. statistics f64 [chunk, 3] holds the shard's largest logit, the
  // sum of exp(logit - largest), and the label's logit if the label is in the shard, else 0. All three are 0
  // if the token is not a target.
  virtual void softmax_statistics(const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                  Tensor& statistics) = 0;
  // statistics f64 [shards, chunk, 3] are those of all shards. Overwrites logits with this shard's columns of
  // cross_entropy's result, and adds to loss_sum what cross_entropy adds, bitwise the same on every shard.
  virtual void cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                             const Tensor& statistics, double gradient_scale,
                                             Tensor& loss_sum) = 0;

  // --- labels drawn from softmax(logits) by Gumbel-max: the index of the largest logit with noise, where
  // each index has a random number of its own, has the softmax's distribution logits [chunk, width] are those
  // of the ids [first, first + width); rows [chunk] on the host are the rows' numbers. best f64 [chunk, 2]
  // gets the largest of logit + noise, and its id, the lower one of equals; if no logit is a number above
  // -infinity, it is -infinity and `first`. The noise depends on the key, the row's number and the id alone
  // (kernels/gumbel.hpp). So the largest of all shards' `best`s is that of the whole vocabulary, on every
  // device and in every layout.
  virtual void gumbel_max(const Tensor& logits, int64_t first, uint64_t key, std::span<const uint64_t> rows,
                          Tensor& best) = 0;

  // --- reductions, in double
  // x is contiguous, in dtype() or accumulation_dtype(). sums f64 [blocks] gets the sum of squares of each
  // block of reduction_block elements, counted from the start.
  virtual void block_sums_of_squares(const Tensor& x, Tensor& sums) = 0;
  // values f64 [n], sums f64 [m], one sum per entry of `runs`. Each sum begins at 0 and adds one value after
  // another.
  virtual void ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) = 0;
  // values f64 [n], sums f64 [m], one sum per entry of `runs`. A sum of no nodes is 0.
  virtual void tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) = 0;
  // outcome f64 [3] of a step: the loss_sum f64 [1]; the gradient's norm, which is the root of sum_of_squares
  // f64 [1]; and the factor for the gradients, which is clip_factor(norm, bounds.max_norm)
  // (kernels/clip_factor.hpp), but NaN if the loss or the norm is not finite or above its bound.
  virtual void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const StepBounds& bounds,
                            Tensor& outcome) = 0;

  // kept f64 [1] = factor f64 [1], or not a number if `value` f64 [1] is not finite. kept may be factor.
  virtual void keep_if_finite(const Tensor& factor, const Tensor& value, Tensor& kept) = 0;

  // --- optimizer updates, elementwise, of a list of ranges at a time, by a formula of kernels/rules/. If the
  // gradient_factor is NaN, nothing changes.
  virtual void update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) = 0;
  // The same of AdamW's formula with states of 8 bits (Dettmers et al., arXiv 2110.02861): a block's states
  // are decoded, the weight is updated by the new states as they are, and these are encoded by the new
  // maximum of their absolute values, which is 0 if they all are. Beside bitsandbytes': its kernels for CUDA
  // give a negative first moment that rounds to 0 the code below that of 0; its other implementations do not,
  // and neither do we.
  virtual void update_quantised(std::span<QuantisedTensors> ranges, const ElementwiseUpdate& step) = 0;

  // --- optimizer updates of matrices by tiles (kernels/matrix_tiles.hpp). factor f64 [1] multiplies the
  // values of clipped tiles; undefined: 1. Vectors of lines are maxima, scales and bounds [lines] in
  // accumulation_dtype(), sums f64 [lines].
  // Raises maxima to the largest absolute value of each line's elements. NaN is passed over.
  virtual void line_maxima(std::span<const MatrixTile> tiles, const Tensor& factor, Tensor& maxima) = 0;
  // Adds the squares of each line's elements to sums. No value of a line is larger than its bound. Terms are
  // rounded (kernels/exact_sum.hpp), so the bits do not depend on how a matrix is cut into tiles, nor on the
  // order in which sums are added. scales may be undefined if no tile uses them. NaN makes NaN.
  virtual void line_sums_of_squares(std::span<const MatrixTile> tiles, const Tensor& factor,
                                    const Tensor& scales, const Tensor& bounds, Tensor& sums) = 0;
  // Moves the moments by the sums of squares of the gradients' lines, of which maxima are the largest values.
  // scales gets what makes directions of gradients: direction = gradient · scale of the row · scale of the
  // column. bounds [rows] gets a bound of each row's directions. The moments stay if the factor is NaN.
  virtual void factored_moments(std::span<FactoredMatrix> matrices, const FactoredStep& step,
                                const Tensor& factor, const Tensor& maxima, const Tensor& sums,
                                Tensor& scales, Tensor& bounds) = 0;
  // rates [matrices, 2] in accumulation_dtype(): by what weights are multiplied, and by what directions are,
  // for the sums of squares f64 [rows] of directions and of weights.
  virtual void factored_rates(std::span<const FactoredMatrix> matrices, const FactoredStep& step,
                              const Tensor& directions, const Tensor& weights, Tensor& rates) = 0;
  // weight = weight · rates[0] - direction · rates[1], or minus the running mean of the latter if the step
  // has momentum. Nothing changes if the factor is NaN. `rounding` is as in update().
  virtual void factored_update(std::span<FactoredTile> tiles, const FactoredStep& step, const Tensor& factor,
                               const Tensor& scales, const Tensor& rates, const Rounding& rounding) = 0;

 private:
  DType dtype_;
  std::shared_ptr<MemoryAccount> account_;
};

inline constexpr int32_t ignored_label = -100;
inline constexpr int32_t absent_id = -1;  // an embedding id that is not in this shard
inline constexpr int64_t reduction_block = 4096;

// kernels/cpu: float32 or bfloat16 on `threads` threads (the caller's included) of its own arena.
std::unique_ptr<Operations> make_cpu_operations(int threads, std::shared_ptr<MemoryAccount> account,
                                                DType dtype = DType::f32);
// kernels/reference: double, single-threaded; every operation is written as its formula.
std::unique_ptr<Operations> make_reference_operations(std::shared_ptr<MemoryAccount> account);
// kernels/cuda: float32 or bfloat16 on GPU `device`. The program must link collie_cuda or
// collie_cuda_emulated.
std::unique_ptr<Operations> make_cuda_operations(DType dtype, int device,
                                                 std::shared_ptr<MemoryAccount> account);
// kernels/meta: tensors have no memory. Operations check their arguments and charge the account with the most
// that kernels/cpu would use on as many threads.
std::unique_ptr<Operations> make_meta_operations(int threads, std::shared_ptr<MemoryAccount> account,
                                                 DType dtype = DType::f32);

}  // namespace collie
