#include "kernels/cuda/cuda_operations.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/processors.hpp"
#include "kernels/checks.hpp"
#include "kernels/cuda/api.hpp"
#include "kernels/cuda/attention/attention.hpp"
#include "kernels/cuda/memory/host_transfers.hpp"
#include "kernels/cuda/memory/ready_event.hpp"
#include "kernels/cuda/ops/activations.hpp"
#include "kernels/cuda/ops/column_sums.hpp"
#include "kernels/cuda/ops/cross_entropy.hpp"
#include "kernels/cuda/ops/dequantise.hpp"
#include "kernels/cuda/ops/dropout.hpp"
#include "kernels/cuda/ops/elementwise.hpp"
#include "kernels/cuda/ops/embedding.hpp"
#include "kernels/cuda/ops/factored.hpp"
#include "kernels/cuda/ops/gumbel_max.hpp"
#include "kernels/cuda/ops/layer_norm.hpp"
#include "kernels/cuda/ops/ordered_sums.hpp"
#include "kernels/cuda/ops/reductions.hpp"
#include "kernels/cuda/ops/rms_norm.hpp"
#include "kernels/cuda/ops/rope.hpp"
#include "kernels/cuda/ops/row_norms.hpp"
#include "kernels/cuda/ops/step_outcome.hpp"
#include "kernels/cuda/ops/tree_sums.hpp"
#include "kernels/cuda/ops/update.hpp"
#include "kernels/cuda/ops/update_quantised.hpp"
#include "kernels/host_data.hpp"

namespace collie {

namespace {

using cuda::Element;
using cuda::Matrix;

Element element_of(const Tensor& x) {
  COLLIE_ASSERT(x.dtype() == DType::f32 || x.dtype() == DType::bf16,
                "a tensor of {} is not computed with on a GPU", name(x.dtype()));
  return x.dtype() == DType::bf16 ? Element::bf16 : Element::f32;
}

// Any tensor as rows of axis 0. The rows have their width even if there are none.
Matrix view(const Tensor& x) {
  const int64_t rows = x.shape().rank() == 0 ? 1 : x.dim(0);
  int64_t width = 1;
  for (int axis = 1; axis < x.shape().rank(); ++axis) width *= x.dim(axis);
  return {x.raw(), element_of(x), rows, width, x.row_stride()};
}

cuda::ProductForm product_of(GemmForm form) {
  return form == GemmForm::nn   ? cuda::ProductForm::nn
         : form == GemmForm::nt ? cuda::ProductForm::nt
                                : cuda::ProductForm::tn;
}

}  // namespace

CudaOperations::CudaOperations(DType dtype, int device, std::shared_ptr<MemoryAccount> account)
    : Operations(dtype, account),
      stream_(std::make_shared<cuda::Stream>(device)),
      memory_(cuda::device_memory(stream_)),
      mapped_memory_(cuda::mapped_memory(stream_)),
      host_threads_(usable_processors()),
      staging_(stream_),
      indices_(stream_, memory_, account),
      matmul_(cuda::make_matmul(stream_, memory_, account)),
      attention_library_(cuda::make_attention_library(stream_, memory_, account, indices_,
                                                      dtype == DType::bf16 ? Element::bf16 : Element::f32)) {}

// Host calls that wait for queued work must run before the table ends, whoever else uses its stream.
CudaOperations::~CudaOperations() {
  cudaStreamSynchronize(stream_->bare());
}

// --- memory

Tensor CudaOperations::empty(const Shape& shape, DType dtype, Category category) {
  return Tensor::on(memory_, shape, dtype, account(), category);
}

Tensor CudaOperations::empty_on_host(const Shape& shape, DType dtype, Category category) {
  return Tensor::on(mapped_memory_, shape, dtype, host_account_, category);
}

std::unique_ptr<Offloaded> CudaOperations::offload(std::vector<Tensor> tensors) {
  if (!offloader_) offloader_ = std::make_unique<Offloader>(*this, cuda::make_host_copies(stream_));
  return offloader_->offload(std::move(tensors));
}

Tensor CudaOperations::workspace(int64_t floats) {
  return empty({floats}, DType::f32, Category::workspace);
}

void CudaOperations::fill(Tensor& x, double value) {
  if (x.numel() == 0) return;
  if (x.dtype() == DType::f32 || x.dtype() == DType::bf16)
    return cuda::fill(stream_->native(), view(x), static_cast<float>(value));
  if (value == 0 && !std::signbit(value) && x.contiguous())
    return cuda::check(cudaMemsetAsync(x.raw(), 0, x.bytes(), stream_->native()), "filling with zeros");
  // Other values in other dtypes come from the host. There are few of them, and rarely any.
  Tensor values = Tensor::host(x.shape(), x.dtype(), host_account_, Category::workspace);
  host::fill(values, value);
  COLLIE_ASSERT(x.contiguous(), "a strided tensor of {} cannot be filled", name(x.dtype()));
  staging_.upload({static_cast<const std::byte*>(values.raw()), values.bytes()}, x.raw());
}

void CudaOperations::copy(const Tensor& from, Tensor& to) {
  check::copy(from, to);
  if (from.numel() == 0) return;
  if (from.contiguous() && to.contiguous())
    return cuda::check(
        cudaMemcpyAsync(to.raw(), from.raw(), from.bytes(), cudaMemcpyDefault, stream_->native()),
        "copying on the device");
  const auto rows = static_cast<size_t>(from.dim(0));
  const size_t size = size_of(from.dtype()), width = from.bytes() / rows;
  const auto pitch = [&](const Tensor& x) {
    return x.contiguous() ? width : static_cast<size_t>(x.row_stride()) * size;
  };
  cuda::check(cudaMemcpy2DAsync(to.raw(), pitch(to), from.raw(), pitch(from), width, rows, cudaMemcpyDefault,
                                stream_->native()),
              "copying on the device");
}

void CudaOperations::convert(const Tensor& from, Tensor& to) {
  check::convert(dtype(), from, to);
  if (from.dtype() == to.dtype()) return copy(from, to);
  cuda::convert(stream_->native(), view(from), view(to));
}

// Values are converted on the host.
void CudaOperations::upload(std::span<const float> values, Tensor& x) {
  check::transfer(values.size(), x);
  Tensor converted = Tensor::host(x.shape(), x.dtype(), host_account_, Category::workspace);
  host::upload(values, converted);
  from_host(converted, x);
}

void CudaOperations::download(const Tensor& x, std::span<float> values) {
  check::transfer(values.size(), x);
  host::download(to_host(x, Category::workspace), values);
}

Tensor CudaOperations::to_host(const Tensor& x, Category category) {
  Tensor values = Tensor::host(x.shape(), x.dtype(), host_account_, category);
  if (x.numel() == 0) return values;
  Tensor dense = x;
  if (!x.contiguous()) {
    dense = empty(x.shape(), x.dtype(), Category::workspace);
    copy(x, dense);
  }
  staging_.download(dense.raw(), {static_cast<std::byte*>(values.raw()), values.bytes()});
  return values;
}

void CudaOperations::from_host(const Tensor& values, Tensor& x) {
  check::from_host(values, x);
  if (x.numel() == 0) return;
  Tensor dense = x.contiguous() ? x : empty(x.shape(), x.dtype(), Category::workspace);
  staging_.upload({static_cast<const std::byte*>(values.raw()), values.bytes()}, dense.raw());
  if (!x.contiguous()) copy(dense, x);
}

void CudaOperations::release(Tensor& x) {
  cuda::release(x, *stream_);
}

Tensor CudaOperations::acquire(Tensor x, Category category) {
  if (x.device() == DeviceKind::cpu) {  // it comes from another process
    Tensor own = empty(x.shape(), x.dtype(), category);
    from_host(x, own);
    return own;
  }
  if (cuda::acquire(x, *stream_) == stream_->device()) {
    x.set_source(memory_);
    x.charge_to(account(), category);
    return x;
  }
  Tensor own = empty(x.shape(), x.dtype(), category);
  copy(x, own);
  stream_->synchronize();  // x goes back in the order of the other device's stream
  return own;
}

Deferred<std::vector<double>> CudaOperations::read(const Tensor& values) {
  check::read(values);
  if (values.numel() == 0) return std::vector<double>{};
  auto transfer = std::make_shared<cuda::ReadBack>(*stream_, values.raw(), values.bytes());
  const auto count = static_cast<size_t>(values.numel());
  return Deferred<std::vector<double>>::later([transfer, count] {
    std::vector<double> found(count);
    transfer->wait(std::as_writable_bytes(std::span{found}));
    return found;
  });
}

void CudaOperations::check_device() {
  try {
    stream_->throw_if_failed();
  } catch (const std::exception& error) {
    throw RunError("GPU {}: {}", stream_->device(), error.what());
  }
}

// --- elementwise

void CudaOperations::add(const Tensor& a, const Tensor& b, Tensor& out) {
  check::add(dtype(), a, b, out);
  cuda::add(stream_->native(), view(a), view(b), view(out));
}

void CudaOperations::scale(Tensor& x, double factor) {
  check::scale(dtype(), x);
  cuda::scale(stream_->native(), view(x), static_cast<float>(factor));
}

void CudaOperations::divide_by_root(Tensor& x, const Tensor& square, double least) {
  check::divide_by_root(dtype(), x, square);
  cuda::divide_by_root(stream_->native(), view(x), square.data<double>(), least);
}

void CudaOperations::clamp(Tensor& x, double limit) {
  check::clamp(dtype(), x, limit);
  cuda::clamp(stream_->native(), view(x), static_cast<float>(limit));
}

void CudaOperations::add_row(Tensor& x, const Tensor& row) {
  check::add_row(dtype(), x, row);
  cuda::add_row(stream_->native(), view(x), row.raw());
}

void CudaOperations::column_sum(const Tensor& x, Tensor& out, bool accumulate) {
  check::column_sum(dtype(), x, out);
  Tensor scratch = workspace(cuda::column_sum_workspace(x.dim(0), x.dim(1)));
  cuda::column_sum(stream_->native(), view(x), out.raw(), element_of(out), accumulate, scratch.data<float>());
}

void CudaOperations::scale_columns(const Tensor& x, const Tensor& factors, Tensor& out) {
  check::scale_columns(dtype(), x, factors, out);
  cuda::scale_columns(stream_->native(), view(x), factors.raw(), element_of(factors), view(out));
}

void CudaOperations::column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) {
  check::column_dots(dtype(), a, b, out);
  Tensor scratch = workspace(cuda::column_sum_workspace(a.dim(0), a.dim(1)));
  cuda::column_dots(stream_->native(), view(a), view(b), out.raw(), element_of(out), accumulate,
                    scratch.data<float>());
}

void CudaOperations::row_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::row_sums_of_squares(dtype(), x, sums);
  cuda::row_sums_of_squares(stream_->native(), view(x), sums.data<float>());
}

void CudaOperations::inverse_roots(Tensor& x) {
  check::inverse_roots(dtype(), x);
  cuda::inverse_roots(stream_->native(), x.data<float>(), x.numel());
}

// --- matrices

void CudaOperations::gemm(GemmForm form, const Tensor& a, const Tensor& b, Tensor& c, bool accumulate) {
  const auto [m, n, k] = check::gemm(dtype(), form, a, b, c);
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) fill(c, 0);
    return;
  }
  matmul_->run(product_of(form), view(a), view(b), view(c), accumulate, nullptr);
}

void CudaOperations::gemm_add_row(GemmForm form, const Tensor& a, const Tensor& b, const Tensor& row,
                                  Tensor& c) {
  const auto [m, n, k] = check::gemm_add_row(dtype(), form, a, b, row, c);
  if (m == 0 || n == 0) return;
  if (k == 0) return Operations::gemm_add_row(form, a, b, row, c);
  matmul_->run(product_of(form), view(a), view(b), view(c), false, row.raw());
}

void CudaOperations::dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                                Tensor& tile) {
  check::dequantise(dtype(), matrix, first_row, first_column, tile);
  if (tile.numel() == 0) return;
  const Quantisation& quantisation = matrix.quantisation;
  const bool nested = quantisation.double_quant;
  const auto* const codes = matrix.codes.data<uint8_t>();
  const float* const scales = nested ? nullptr : matrix.scales.data<float>();
  if (!quantisation.is_in_blocks())
    return cuda::dequantise_rows(stream_->native(), codes, matrix.codes.dim(1), scales, scale_of_int8,
                                 first_row, first_column, view(tile));
  static_assert(cuda::short_code_count == short_codes && cuda::scale_code_count == map_size);
  cuda::CodeNumbers numbers{};
  std::copy_n(values_of_codes(quantisation.kind).begin(), short_codes, numbers.values);
  std::copy_n(dynamic_map(true).values.begin(), map_size, numbers.scales);
  const cuda::CodedMatrix coded{codes,
                                matrix.places.data<int32_t>(),
                                scales,
                                nested ? matrix.scales.data<uint8_t>() : nullptr,
                                nested ? matrix.nested.data<float>() : nullptr,
                                matrix.offset,
                                matrix.codes.dim(1),
                                matrix.scales.dim(1),
                                quantisation.block_size,
                                nested_block};
  cuda::dequantise_blocks(stream_->native(), coded, numbers, first_row, first_column, view(tile));
}

// --- embedding

void CudaOperations::embedding(const Tensor& table, std::span<const int32_t> ids, Tensor& out) {
  check::embedding(dtype(), table, ids, out);
  if (ids.empty()) return;
  cuda::embedding(stream_->native(), view(table), indices_.on_device(ids), view(out));
}

void CudaOperations::embedding_backward(std::span<const int32_t> ids, const Tensor& d_out, Tensor& d_table,
                                        bool accumulate) {
  check::embedding(dtype(), d_table, ids, d_out);
  if (!accumulate) fill(d_table, 0);
  const cuda::TokensById tokens = cuda::tokens_by_id(ids);
  if (tokens.ids == 0) return;
  cuda::embedding_backward(stream_->native(), tokens.ids, indices_.on_device(tokens.array), view(d_out),
                           view(d_table));
}

// --- RMSNorm

void CudaOperations::rms_norm(const Tensor& x, const Tensor& weight, double weight_offset, double eps,
                              Tensor& y, Tensor& inverse_rms) {
  check::rms_norm(dtype(), x, weight, y, inverse_rms);
  cuda::rms_norm(stream_->native(), view(x), weight.raw(), weight_offset, static_cast<float>(eps), view(y),
                 inverse_rms.data<float>());
}

void CudaOperations::add_rms_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                                  double weight_offset, double eps, Tensor& sum, Tensor& y,
                                  Tensor& inverse_rms) {
  check::add_rms_norm(dtype(), x, residual, weight, sum, y, inverse_rms);
  cuda::add_rms_norm(stream_->native(), view(x), view(residual), weight.raw(), weight_offset,
                     static_cast<float>(eps), view(sum), view(y), inverse_rms.data<float>());
}

void CudaOperations::rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                             double weight_offset, const Tensor& inverse_rms,
                                             const Tensor& d_residual, Tensor& dx) {
  check::rms_norm_backward_input(dtype(), dy, x, weight, inverse_rms, d_residual, dx);
  const Matrix beside = d_residual.defined() ? view(d_residual) : Matrix{};
  cuda::rms_norm_backward_input(stream_->native(), view(dy), view(x), weight.raw(), weight_offset,
                                inverse_rms.data<float>(), d_residual.defined() ? &beside : nullptr,
                                view(dx));
}

void CudaOperations::rms_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                                              Tensor& d_weight, bool accumulate) {
  check::rms_norm_backward_weight(dtype(), dy, x, inverse_rms, d_weight);
  Tensor scratch = workspace(cuda::rms_norm_backward_weight_workspace(x.dim(0), x.dim(1)));
  cuda::rms_norm_backward_weight(stream_->native(), view(dy), view(x), inverse_rms.data<float>(),
                                 d_weight.raw(), element_of(d_weight), accumulate, scratch.data<float>());
}

void CudaOperations::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                Tensor& y, Tensor& statistics) {
  check::layer_norm(dtype(), x, weight, bias, y, statistics);
  cuda::layer_norm(stream_->native(), view(x), weight.raw(), bias.defined() ? bias.raw() : nullptr,
                   static_cast<float>(eps), view(y), statistics.data<float>());
}

void CudaOperations::add_layer_norm(const Tensor& x, const Tensor& residual, const Tensor& weight,
                                    const Tensor& bias, double eps, Tensor& sum, Tensor& y,
                                    Tensor& statistics) {
  check::add_layer_norm(dtype(), x, residual, weight, bias, sum, y, statistics);
  cuda::add_layer_norm(stream_->native(), view(x), view(residual), weight.raw(),
                       bias.defined() ? bias.raw() : nullptr, static_cast<float>(eps), view(sum), view(y),
                       statistics.data<float>());
}

void CudaOperations::layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                               const Tensor& statistics, const Tensor& d_residual,
                                               Tensor& dx) {
  check::layer_norm_backward_input(dtype(), dy, x, weight, statistics, d_residual, dx);
  const Matrix beside = d_residual.defined() ? view(d_residual) : Matrix{};
  cuda::layer_norm_backward_input(stream_->native(), view(dy), view(x), weight.raw(),
                                  statistics.data<float>(), d_residual.defined() ? &beside : nullptr,
                                  view(dx));
}

void CudaOperations::layer_norm_backward_weight(const Tensor& dy, const Tensor& x, const Tensor& statistics,
                                                Tensor& d_weight, bool accumulate) {
  check::layer_norm_backward_weight(dtype(), dy, x, statistics, d_weight);
  Tensor scratch = workspace(cuda::column_sum_workspace(x.dim(0), x.dim(1)));
  cuda::layer_norm_backward_weight(stream_->native(), view(dy), view(x), statistics.data<float>(),
                                   d_weight.raw(), element_of(d_weight), accumulate, scratch.data<float>());
}

void CudaOperations::rope(Tensor& x, const Tensor& cosines, const Tensor& sines,
                          std::span<const int32_t> positions, bool inverse, RotaryPairs pairs) {
  check::rope(dtype(), x, cosines, sines, positions);
  if (positions.empty()) return;
  cuda::rope(stream_->native(), view(x), x.dim(1), x.dim(2), view(cosines), view(sines),
             indices_.on_device(positions), inverse, pairs == RotaryPairs::neighbours);
}

// --- attention

cuda::AttentionViews CudaOperations::attention_views(const Tensor& q, const Tensor& k, const Tensor& v,
                                                     const Tensor& out, const Tensor& log_sum_exp,
                                                     const AttentionSpans& spans,
                                                     const AttentionScores& scores) {
  cuda::AttentionViews views{view(q),
                             view(k),
                             view(v),
                             view(out),
                             log_sum_exp.data<float>(),
                             q.dim(1),
                             k.dim(1),
                             q.dim(2),
                             static_cast<float>(scores.scale)};
  views.rules.cap = static_cast<float>(scores.soft_cap);
  if (scores.dropout == 0 || q.dim(0) == 0) return views;
  const DropoutMask mask = dropout_mask(scores.dropout_key, scores.dropout);
  views.rules.mask_key = mask.key;
  views.rules.dropped = mask.dropped;
  views.rules.factor = static_cast<float>(mask.factor);
  views.rules.query_rows = indices_.on_device(cuda::words_of_rows(scores.query_rows));
  views.rules.key_numbers = indices_.on_device(cuda::key_numbers(spans, scores.first_keys));
  views.rules.first_head = static_cast<uint32_t>(scores.first_head);
  return views;
}

void CudaOperations::attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpans& spans,
                               const AttentionScores& scores, Tensor& out, Tensor& log_sum_exp) {
  check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  const cuda::AttentionViews views = attention_views(q, k, v, out, log_sum_exp, spans, scores);
  if (attention_library_ && attention_library_->forward(views, cuda::documents_of(spans))) return;
  cuda::attention(stream_->native(), indices_, views, cuda::documents_of(spans));
}

void CudaOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                        const AttentionSpans& spans, const AttentionScores& scores,
                                        const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                                        Tensor& dq, Tensor& dk, Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  const cuda::AttentionViews views = attention_views(q, k, v, out, log_sum_exp, spans, scores);
  if (attention_library_ && attention_library_->backward(views, cuda::documents_of(spans), view(d_out),
                                                         view(dq), view(dk), view(dv)))
    return;
  Tensor scratch = workspace(cuda::attention_backward_workspace(sizes.queries, sizes.heads));
  cuda::attention_backward(stream_->native(), indices_, views, cuda::documents_of(spans), view(d_out),
                           view(dq), view(dk), view(dv), scratch.data<float>());
}

void CudaOperations::merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                                     const Tensor& part_log_sum_exp) {
  check::merge_attention(dtype(), out, log_sum_exp, part, part_log_sum_exp);
  cuda::merge_attention(stream_->native(), view(out), log_sum_exp.data<float>(), view(part),
                        part_log_sum_exp.data<float>(), log_sum_exp.dim(1));
}

// --- activations and dropout

void CudaOperations::gated(Activation activation, const Tensor& gate, const Tensor& up, Tensor& out) {
  check::gated(dtype(), gate, up, out);
  cuda::gated(stream_->native(), activation, view(gate), view(up), view(out));
}

void CudaOperations::gated_backward(Activation activation, const Tensor& gate, const Tensor& up,
                                    const Tensor& d_out, Tensor& d_gate, Tensor& d_up) {
  check::gated_backward(dtype(), gate, up, d_out, d_gate, d_up);
  cuda::gated_backward(stream_->native(), activation, view(gate), view(up), view(d_out), view(d_gate),
                       view(d_up));
}

void CudaOperations::activate(Activation activation, const Tensor& x, Tensor& out) {
  check::activate(dtype(), x, out);
  cuda::activate(stream_->native(), activation, view(x), view(out));
}

void CudaOperations::activate_backward(Activation activation, const Tensor& x, const Tensor& d_out,
                                       Tensor& dx) {
  check::activate_backward(dtype(), x, d_out, dx);
  cuda::activate_backward(stream_->native(), activation, view(x), view(d_out), view(dx));
}

void CudaOperations::dropout(const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows,
                             int64_t first_column, Tensor& out) {
  check::dropout(dtype(), x, rate, rows, first_column, out);
  if (rows.empty()) return;
  cuda::dropout(stream_->native(), view(x), dropout_mask(key, rate),
                indices_.on_device(cuda::words_of_rows(rows)), first_column, view(out));
}

// --- loss

void CudaOperations::cross_entropy(Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
                                   Tensor& loss_sum) {
  check::cross_entropy(dtype(), logits, labels, loss_sum);
  if (labels.empty()) return;
  Tensor losses = empty({logits.dim(0)}, DType::f64, Category::workspace);
  cuda::cross_entropy(stream_->native(), view(logits), indices_.on_device(labels),
                      static_cast<float>(gradient_scale), losses.data<double>());
  cuda::add_sum(stream_->native(), losses.data<double>(), losses.numel(), loss_sum.data<double>());
}

void CudaOperations::softmax_statistics(const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                        Tensor& statistics) {
  check::softmax_statistics(dtype(), logits, labels, first, statistics);
  if (labels.empty()) return;
  cuda::softmax_statistics(stream_->native(), view(logits), indices_.on_device(labels), first,
                           statistics.data<double>());
}

void CudaOperations::cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels,
                                                   int64_t first, const Tensor& statistics,
                                                   double gradient_scale, Tensor& loss_sum) {
  check::cross_entropy_from_statistics(dtype(), logits, labels, first, statistics, loss_sum);
  if (labels.empty()) return;
  Tensor losses = empty({logits.dim(0)}, DType::f64, Category::workspace);
  cuda::cross_entropy_from_statistics(stream_->native(), view(logits), indices_.on_device(labels), first,
                                      statistics.data<double>(), statistics.dim(0),
                                      static_cast<float>(gradient_scale), losses.data<double>());
  cuda::add_sum(stream_->native(), losses.data<double>(), losses.numel(), loss_sum.data<double>());
}

void CudaOperations::gumbel_max(const Tensor& logits, int64_t first, uint64_t key,
                                std::span<const uint64_t> rows, Tensor& best) {
  check::gumbel_max(dtype(), logits, first, rows, best);
  if (rows.empty()) return;
  cuda::gumbel_max(stream_->native(), view(logits), first, key, indices_.on_device(cuda::words_of_rows(rows)),
                   best.data<double>());
}

// --- reductions and optimizers

void CudaOperations::block_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::block_sums_of_squares(dtype(), x, sums);
  cuda::block_sums_of_squares(stream_->native(), x.raw(), element_of(x), x.numel(), sums.data<double>());
}

void CudaOperations::ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) {
  check::ordered_sums(values, runs, sums);
  if (sums.numel() == 0) return;
  const auto words = cuda::words_of({runs.starts, runs.firsts, runs.counts});
  cuda::ordered_sums(stream_->native(), values.data<double>(), indices_.on_device(words),
                     static_cast<int64_t>(runs.firsts.size()), sums.numel(), sums.data<double>());
}

void CudaOperations::tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) {
  check::tree_sums(values, runs, sums);
  if (sums.numel() == 0) return;
  const auto words = cuda::words_of({runs.starts, runs.firsts, runs.counts, runs.heights});
  int64_t largest = 0;
  for (const int32_t count_of_node : runs.counts) largest = std::max<int64_t>(largest, count_of_node);
  cuda::tree_sums(stream_->native(), values.data<double>(), indices_.on_device(words),
                  static_cast<int64_t>(runs.firsts.size()), sums.numel(), largest, sums.data<double>());
}

void CudaOperations::step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares,
                                  const StepBounds& bounds, Tensor& outcome) {
  check::step_outcome(loss_sum, sum_of_squares, outcome);
  cuda::step_outcome(stream_->native(), loss_sum.data<double>(), sum_of_squares.data<double>(), bounds,
                     outcome.data<double>());
}

void CudaOperations::keep_if_finite(const Tensor& factor, const Tensor& value, Tensor& kept) {
  check::keep_if_finite(factor, value, kept);
  cuda::keep_if_finite(stream_->native(), factor.data<double>(), value.data<double>(), kept.data<double>());
}

namespace {

const double* value_of(const Tensor& factor) {
  return factor.defined() ? factor.data<double>() : nullptr;
}

cuda::FloatFactors factors_of(const ElementwiseUpdate& step) {
  cuda::FloatFactors factors{};
  for (size_t i = 0; i < most_factors; ++i) factors.values[i] = static_cast<float>(step.factors[i]);
  return factors;
}

}  // namespace

void CudaOperations::update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) {
  check::update(dtype(), ranges, step);
  const unsigned wide = formula_properties(step.formula).wide_states;
  std::vector<cuda::UpdateArrays> arrays;
  arrays.reserve(ranges.size());
  for (const UpdateTensors& range : ranges) {
    cuda::UpdateArrays& x = arrays.emplace_back();
    x.weight = range.weight.raw();
    x.gradient = range.gradient.raw();
    for (size_t i = 0; i < range.states.size(); ++i) x.states[i] = range.states[i].raw();
    x.rounded = range.rounded.defined() ? range.rounded.raw() : nullptr;
    x.weight_element = element_of(range.weight);
    x.gradient_element = element_of(range.gradient);
    x.state_element = Element::f32;  // of the states that are not wide
    for (size_t i = 0; i < range.states.size(); ++i)
      if ((wide >> i & 1U) == 0) x.state_element = element_of(range.states[i]);
    x.rounded_element = range.rounded.defined() ? element_of(range.rounded) : Element::bf16;
    x.count = range.weight.numel();
    x.first_index = range.first_index;
  }
  cuda::update(stream_->native(), arrays, step.formula, factors_of(step), step.rounding,
               value_of(step.gradient_factor));
}

void CudaOperations::update_quantised(std::span<QuantisedTensors> ranges, const ElementwiseUpdate& step) {
  check::update_quantised(dtype(), ranges, step);
  std::vector<cuda::QuantisedArrays> arrays;
  arrays.reserve(ranges.size());
  for (const QuantisedTensors& range : ranges) {
    cuda::QuantisedArrays& x = arrays.emplace_back();
    x.weight = range.weight.raw();
    x.gradient = range.gradient.raw();
    x.rounded = range.rounded.defined() ? range.rounded.raw() : nullptr;
    for (size_t i = 0; i < range.codes.size(); ++i) {
      x.codes[i] = range.codes[i].data<uint8_t>();
      x.absmax[i] = range.absmax[i].data<float>();
    }
    x.weight_element = element_of(range.weight);
    x.gradient_element = element_of(range.gradient);
    x.rounded_element = range.rounded.defined() ? element_of(range.rounded) : Element::bf16;
    x.count = range.weight.numel();
    x.first_index = range.first_index;
  }
  static_assert(cuda::quantised_codes == map_size);
  cuda::CodeValues values{};
  for (size_t i = 0; i < std::size(quantised_with_signs); ++i)
    std::copy_n(dynamic_map(quantised_with_signs[i]).values.begin(), map_size, values.values[i]);
  cuda::update_quantised(stream_->native(), arrays, values, factors_of(step), step.rounding,
                         value_of(step.gradient_factor));
}

namespace {

std::vector<cuda::LineTile> lines_of(std::span<const MatrixTile> tiles) {
  std::vector<cuda::LineTile> all;
  all.reserve(tiles.size());
  for (const MatrixTile& tile : tiles)
    all.push_back({tile.values.raw(), element_of(tile.values), tile.clipped, tile.values.dim(0),
                   tile.values.dim(1), tile.row_line, tile.column_line, tile.row_elements,
                   tile.column_elements, tile.row_scale, tile.column_scale});
  return all;
}

std::vector<cuda::MomentMatrix> moments_of(std::span<const FactoredMatrix> matrices) {
  std::vector<cuda::MomentMatrix> all;
  all.reserve(matrices.size());
  for (const FactoredMatrix& matrix : matrices)
    all.push_back({matrix.rows, matrix.columns, matrix.first_line, matrix.first_row,
                   matrix.row_moments.defined() ? matrix.row_moments.data<float>() : nullptr,
                   matrix.column_moments.defined() ? matrix.column_moments.data<float>() : nullptr});
  return all;
}

cuda::MomentStep moments_of(const FactoredStep& step) {
  return {step.beta, step.eps, step.clip_threshold, step.rate, step.least_scale, step.weight_decay};
}

}  // namespace

void CudaOperations::line_maxima(std::span<const MatrixTile> tiles, const Tensor& factor, Tensor& maxima) {
  check::line_maxima(dtype(), tiles, factor, maxima);
  cuda::line_maxima(stream_->native(), lines_of(tiles), value_of(factor), maxima.data<float>());
}

void CudaOperations::line_sums_of_squares(std::span<const MatrixTile> tiles, const Tensor& factor,
                                          const Tensor& scales, const Tensor& bounds, Tensor& sums) {
  check::line_sums_of_squares(dtype(), tiles, factor, scales, bounds, sums);
  cuda::line_sums_of_squares(stream_->native(), lines_of(tiles), value_of(factor),
                             scales.defined() ? scales.data<float>() : nullptr, bounds.data<float>(),
                             sums.data<double>());
}

void CudaOperations::factored_moments(std::span<FactoredMatrix> matrices, const FactoredStep& step,
                                      const Tensor& factor, const Tensor& maxima, const Tensor& sums,
                                      Tensor& scales, Tensor& bounds) {
  check::factored_moments(dtype(), matrices, factor, maxima, sums, scales, bounds);
  cuda::factored_moments(stream_->native(), moments_of(matrices), moments_of(step), value_of(factor),
                         maxima.data<float>(), sums.data<double>(), scales.data<float>(),
                         bounds.data<float>());
}

void CudaOperations::factored_rates(std::span<const FactoredMatrix> matrices, const FactoredStep& step,
                                    const Tensor& directions, const Tensor& weights, Tensor& rates) {
  check::factored_rates(dtype(), matrices, directions, weights, rates);
  cuda::factored_rates(stream_->native(), moments_of(matrices), moments_of(step), directions.data<double>(),
                       weights.data<double>(), rates.data<float>());
}

void CudaOperations::factored_update(std::span<FactoredTile> tiles, const FactoredStep& step,
                                     const Tensor& factor, const Tensor& scales, const Tensor& rates,
                                     const Rounding& rounding) {
  check::factored_update(dtype(), tiles, step, factor, scales, rates);
  std::vector<cuda::UpdateTile> all;
  all.reserve(tiles.size());
  for (const FactoredTile& tile : tiles) {
    const auto raw = [](const Tensor& x) { return x.defined() ? x.raw() : nullptr; };
    const auto element = [](const Tensor& x) { return x.defined() ? element_of(x) : Element::f32; };
    all.push_back({raw(tile.weight), raw(tile.gradient), raw(tile.momentum), raw(tile.rounded),
                   element(tile.weight), element(tile.gradient), element(tile.momentum),
                   element(tile.rounded), tile.weight.dim(0), tile.weight.dim(1), tile.row_scale,
                   tile.column_scale, tile.matrix, tile.first_index});
  }
  cuda::factored_update(stream_->native(), all, static_cast<float>(step.momentum), value_of(factor),
                        scales.data<float>(), rates.data<float>(), rounding);
}

int64_t CudaOperations::head_chunk(int64_t vocab) const {
  return cuda::head_chunk(vocab);
}

}  // namespace collie
