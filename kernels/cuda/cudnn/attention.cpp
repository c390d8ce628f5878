#include "kernels/cuda/cudnn/attention.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <set>
#include <stdexcept>

#include "kernels/cuda/cudnn/packing.hpp"
#include "kernels/cuda/ops/elementwise.hpp"
#include "kernels/cuda/ops/row_copy.hpp"
#include "kernels/tensor.hpp"

namespace collie::cuda {

namespace {

namespace id = cudnn_tensor;
using Pointers = std::map<int64_t, void*>;

class CudnnAttention final : public AttentionLibrary {
 public:
  explicit CudnnAttention(const CudnnAttentionOptions& options) : options_(options) {
    cudnn().check(cudnn().create(&handle_), "starting");
    try {
      constexpr int64_t dim = 64, tokens = 128;
      make_plan({1, tokens, tokens, 1, 1, dim, CudnnMask::causal, false, {dim, dim, dim, dim}}, false);
    } catch (const std::runtime_error&) {
      cudnn().destroy(handle_);
      throw;
    }
    options_.say(fmt::format("attention: cuDNN {}, its backward {}", cudnn().version_name(),
                             options_.any_order ? "adding in any order" : "in one order"));
  }
  ~CudnnAttention() override {
    plans_.clear();
    cudnn().destroy(handle_);
  }

  bool forward(const AttentionViews& views, const Documents& documents) override {
    const CudnnPacking packing(documents);
    if (packing.empty()) return false;
    if (!accepts(packing.refusal(views, std::array{views.q, views.k, views.v, views.out}))) return false;
    const CudnnAttentionShape shape = packing.shape(views);
    const CudnnPlan* const plan = find(shape, false);
    if (plan == nullptr) return false;
    run(*plan, shape, views, documents, pointers_of(views, packing));
    return true;
  }

  bool backward(const AttentionViews& views, const Documents& documents, const Matrix& d_out,
                const Matrix& dq, const Matrix& dk, const Matrix& dv) override {
    const CudnnPacking packing(documents);
    if (packing.empty()) return false;
    const std::array matrices{views.q, views.k, views.v, views.out, d_out, dq, dk, dv};
    if (!accepts(packing.refusal(views, matrices))) return false;
    if (!accepts(packing.one_key_each() ? "every query of a backward sees one key alone" : "")) return false;
    CudnnAttentionShape shape = packing.shape(views);
    const bool shares = shape.group() > 1;
    // If heads share keys, the rows are dense, so that those of all heads are dense, too.
    shape.strides.d_out = d_out.stride;
    shape.strides.dq = dq.stride;
    shape.strides.dk = shares ? dk.width : dk.stride;
    shape.strides.dv = shares ? dv.width : dv.stride;
    shape.any_order = options_.any_order;
    if (!fits(shape)) return false;
    const CudnnPlan* const plan = find(shape, true);
    if (plan == nullptr) return false;

    Pointers pointers = pointers_of(views, packing);
    add(pointers, id::d_out, d_out.data, packing.query_offsets(d_out.stride));
    add(pointers, id::dq, dq.data, packing.query_offsets(dq.stride));
    std::vector<Tensor> scratch;
    pointers[id::deltas] = floats(scratch, views.q.rows * views.heads);
    if (shape.any_order) pointers[id::dq_sums] = zeros(scratch, dq.rows, dq.stride);
    Matrix dk_made = dk, dv_made = dv;
    if (shares) {
      dk_made = dense(scratch, dk);
      dv_made = dense(scratch, dv);
      // They take as many bytes as float32, which is what NVIDIA's front end sets aside for them.
      pointers[id::dk_of_all_heads] = floats(scratch, dk.rows * dk.width * shape.group());
      pointers[id::dv_of_all_heads] = floats(scratch, dv.rows * dv.width * shape.group());
    }
    add(pointers, id::dk, dk_made.data, packing.key_offsets(dk_made.stride));
    add(pointers, id::dv, dv_made.data, packing.key_offsets(dv_made.stride));
    float one = 1;
    pointers[id::one] = &one;
    run(*plan, shape, views, documents, std::move(pointers));
    if (shares) {
      copy_rows(options_.stream->native(), dk_made, dk);
      copy_rows(options_.stream->native(), dv_made, dv);
    }
    return true;
  }

 private:
  const Cudnn& cudnn() const { return options_.library; }

  // Returns true if there is no reason against it.
  bool accepts(const std::string& reason) {
    if (!reason.empty() && said_.insert(reason).second)
      options_.say("attention: left to the own kernels, because " + reason);
    return reason.empty();
  }

  // Checks a backward's workspace, whose size is known before it is planned.
  bool fits(const CudnnAttentionShape& shape) {
    const int64_t bytes = shape.documents * shape.heads * shape.queries * shape.keys * 2;
    return accepts(!shape.any_order && bytes > largest_cudnn_workspace
                       ? "a backward in one order takes more than 4 GiB of workspace for long documents"
                       : "");
  }

  // Returns null if cuDNN has no plan, and says so.
  const CudnnPlan* find(const CudnnAttentionShape& shape, bool backward) {
    const auto [at, is_new] = plans_.try_emplace({backward, shape});
    if (is_new) try {
        at->second.emplace(make_plan(shape, backward));
      } catch (const std::runtime_error& refused) {
        accepts(refused.what());
      }
    return at->second ? &*at->second : nullptr;
  }

  CudnnPlan make_plan(const CudnnAttentionShape& shape, bool backward) const {
    CudnnGraph graph = backward ? cudnn_attention_backward(cudnn(), shape) : cudnn_attention(cudnn(), shape);
    return graph.plan({handle_, nullptr});
  }

  // The device pointers that forward and backward share.
  Pointers pointers_of(const AttentionViews& views, const CudnnPacking& packing) const {
    Pointers pointers;
    add(pointers, id::q, views.q.data, packing.query_offsets(views.q.stride));
    add(pointers, id::k, views.k.data, packing.key_offsets(views.k.stride));
    add(pointers, id::v, views.v.data, packing.key_offsets(views.v.stride));
    add(pointers, id::out, views.out.data, packing.query_offsets(views.out.stride));
    add(pointers, id::log_sum_exp, views.log_sum_exp, packing.query_offsets(views.heads));
    pointers[id::query_lengths] = on_device(packing.query_lengths());
    pointers[id::key_lengths] = on_device(packing.key_lengths());
    return pointers;
  }
  void* on_device(const std::vector<int32_t>& values) const {
    return const_cast<int32_t*>(options_.indices.on_device(values));
  }
  void add(Pointers& pointers, int64_t number, void* data, const std::vector<int32_t>& offsets) const {
    pointers[number] = data;
    pointers[id::offsets + number] = on_device(offsets);
  }

  void* floats(std::vector<Tensor>& scratch, int64_t count) const {
    return scratch
        .emplace_back(Tensor::on(options_.memory, {count}, DType::f32, options_.account, Category::workspace))
        .raw();
  }
  // Zeros for tensors that are added to in any order, because nothing is written to them first.
  void* zeros(std::vector<Tensor>& scratch, int64_t rows, int64_t width) const {
    void* const sums = floats(scratch, rows * width);
    fill(options_.stream->native(), {sums, Element::f32, rows, width, width}, 0);
    return sums;
  }
  Matrix dense(std::vector<Tensor>& scratch, const Matrix& like) const {
    const Tensor& made = scratch.emplace_back(Tensor::on(options_.memory, {like.rows, like.width},
                                                         DType::bf16, options_.account, Category::workspace));
    return {made.raw(), like.element, like.rows, like.width, like.width};
  }

  // Adds the values that the graph takes from the host.
  void run(const CudnnPlan& plan, const CudnnAttentionShape& shape, const AttentionViews& views,
           const Documents& documents, Pointers pointers) const {
    float score_scale = views.score_scale, minus_infinity = -std::numeric_limits<float>::infinity(),
          window = static_cast<float>(documents.window);
    auto whole_window = static_cast<int32_t>(documents.window);
    pointers[id::score_scale] = &score_scale;
    pointers[id::minus_infinity] = &minus_infinity;
    if (shape.mask != CudnnMask::none) pointers[id::minus_infinity_causal] = &minus_infinity;
    if (shape.window) {
      pointers[id::minus_infinity_window] = &minus_infinity;
      if (shape.mask == CudnnMask::causal_last)
        pointers[id::window] = &whole_window;
      else
        pointers[id::window] = &window;
    }
    std::vector<Tensor> workspace;
    void* const bytes =
        plan.workspace_bytes() > 0 ? floats(workspace, (plan.workspace_bytes() + 3) / 4) : nullptr;
    // The stream is not always the same one: it may be captured into a graph.
    cudnn().check(cudnn().set_stream(handle_, options_.stream->native()), "choosing a stream");
    plan.run(cudnn(), handle_, pointers, bytes);
  }

  const CudnnAttentionOptions options_;
  cudnnHandle_t handle_ = nullptr;
  std::map<std::pair<bool, CudnnAttentionShape>, std::optional<CudnnPlan>> plans_;
  std::set<std::string> said_;
};

}  // namespace

std::unique_ptr<AttentionLibrary> make_cudnn_attention(const CudnnAttentionOptions& options) {
  const int major = options.capability / 10;
  if (major != 9 && major != 10)
    throw std::runtime_error(fmt::format(
        "cuDNN's attention of packed documents is used on compute capability 9 and 10, and this is {}.{}",
        major, options.capability % 10));
  return std::make_unique<CudnnAttention>(options);
}

}  // namespace collie::cuda
