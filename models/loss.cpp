#include "models/loss.hpp"

namespace collie {
namespace {

class CrossEntropy final : public Loss {
 public:
  double chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels,
               double gradient_scale) override {
    return operations.cross_entropy(logits, labels, gradient_scale);
  }
};

}  // namespace

Registry<LossFactory>& losses() {
  static Registry<LossFactory>& registry = []() -> Registry<LossFactory>& {
    static Registry<LossFactory> all("loss", "train.loss");
    all.add("cross_entropy", [] { return std::make_unique<CrossEntropy>(); });
    return all;
  }();
  return registry;
}

}  // namespace collie
