#include "models/loss.hpp"

namespace collie {
namespace {

class CrossEntropy final : public Loss {
 public:
  void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
             Tensor& loss_sum) override {
    operations.cross_entropy(logits, labels, gradient_scale, loss_sum);
  }

  bool is_cross_entropy() const override { return true; }
  bool supports_shards() const override { return true; }

  // Shoeybi et al., arXiv 1909.08053, section 3: three numbers a token travel instead of the logits.
  void chunk_of_shard(Operations& operations, Tensor& logits, std::span<const int32_t> labels, int64_t first,
                      ProcessGroup& group, double gradient_scale, Tensor& loss_sum) override {
    const int64_t tokens = logits.dim(0);
    Tensor own = operations.empty({tokens, 3}, DType::f64, Category::communication);
    operations.softmax_statistics(logits, labels, first, own);
    Tensor all = operations.empty({group.size() * tokens, 3}, DType::f64, Category::communication);
    group.all_gather(own, all);
    operations.cross_entropy_from_statistics(logits, labels, first, all.reshape({group.size(), tokens, 3}),
                                             gradient_scale, loss_sum);
  }
};

}  // namespace

void Loss::chunk_of_shard(Operations&, Tensor&, std::span<const int32_t>, int64_t, ProcessGroup&, double,
                          Tensor&) {
  COLLIE_ASSERT(false, "this loss needs whole logits: supports_shards() says so");
}

void check_loss_shards(const std::string& name, const Loss& loss, int tensor_size) {
  if (tensor_size > 1 && !loss.supports_shards())
    throw UserError("train.loss: '{}' needs full logits; parallel.tp_size must be 1, it is {}", name,
                    tensor_size);
}

void check_loss_curvature(const std::string& name, const Loss& loss, const std::string& optimizer) {
  if (!loss.is_cross_entropy())
    throw UserError(
        "train.loss: '{}' does not go with the optimizer {}, which estimates the curvature from labels that "
        "are sampled from the softmax of the logits; that is right for cross_entropy",
        name, optimizer);
}

Registry<LossFactory>& losses() {
  static Registry<LossFactory>& registry = []() -> Registry<LossFactory>& {
    static Registry<LossFactory> all("loss", "train.loss");
    all.add("cross_entropy", [] { return std::make_unique<CrossEntropy>(); });
    return all;
  }();
  return registry;
}

}  // namespace collie
