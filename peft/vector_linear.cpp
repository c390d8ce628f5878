#include "peft/vector_linear.hpp"

#include <utility>

#include "models/access.hpp"

namespace collie {
namespace {

// factors [1, n] or [n, 1] as a vector.
Tensor as_vector(const Tensor& factors) {
  return factors.reshape({factors.numel()});
}

LinearStash* part_of(LinearStash* stash) {
  if (stash == nullptr) return nullptr;
  stash->parts.resize(1);
  return &stash->parts.front();
}

// base(x ⊙ l). The stash's tensors are, once they are known, the gradient of x ⊙ l [tokens, in], and l [in],
// because the weights may be gone when those of the weights are taken.
class InputVectorLinear final : public Linear {
 public:
  InputVectorLinear(std::unique_ptr<Linear> base, ParameterId factors)
      : base_(std::move(base)), factors_(factors) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    base_->forward(context, scaled(context, x), y, part_of(stash));
  }

  void keep(LayerContext& context, const Tensor& x, LinearStash& stash) override {
    base_->keep(context, scaled(context, x), *part_of(&stash));
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    skip_input(context, dy, stash);
    Operations& operations = context.operations;
    if (!accumulate) return operations.scale_columns(stash.tensors.at(0), stash.tensors.at(1), dx);
    Tensor share = operations.empty(dx.shape(), Category::workspace);
    operations.scale_columns(stash.tensors.at(0), stash.tensors.at(1), share);
    operations.add(dx, share, dx);
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    Operations& operations = context.operations;
    const AcquiredWeight acquired(context, factors_);
    const Tensor held = as_vector(*acquired);
    Tensor factors = operations.empty(held.shape(), Category::activations);
    operations.copy(held, factors);
    Tensor gradient = operations.empty({dy.dim(0), factors.dim(0)}, Category::activations);
    base_->backward_input(context, dy, gradient, false, stash.parts.at(0));
    stash.tensors = {gradient, factors};
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    contribute(context, factors_, [&](Tensor& gradient, bool accumulate) {
      Tensor of_factors = as_vector(gradient);
      context.operations.column_dots(stash.tensors.at(0), x, of_factors, accumulate);
    });
    base_->backward_weight(context, scaled(context, x, stash.tensors.at(1)), dy, stash.parts.at(0));
  }

  void copy_rows(LayerContext&, int64_t, Tensor&) override {
    COLLIE_ASSERT(false, "the rows of a matrix with a vector were asked for; nobody has a use for them");
  }

 private:
  Tensor scaled(LayerContext& context, const Tensor& x) const {
    const AcquiredWeight factors(context, factors_);
    return scaled(context, x, as_vector(*factors));
  }
  static Tensor scaled(LayerContext& context, const Tensor& x, const Tensor& factors) {
    Tensor result = context.operations.empty(x.shape(), Category::workspace);
    context.operations.scale_columns(x, factors, result);
    return result;
  }

  std::unique_ptr<Linear> base_;
  ParameterId factors_;
};

// base(x) ⊙ l. The stash's tensors are base(x) [tokens, out] and, once it is known, dy ⊙ l [tokens, out].
class OutputVectorLinear final : public Linear {
 public:
  OutputVectorLinear(std::unique_ptr<Linear> base, ParameterId factors)
      : base_(std::move(base)), factors_(factors) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    const AcquiredWeight factors(context, factors_);
    if (stash == nullptr) {
      base_->forward(context, x, y, nullptr);
      return context.operations.scale_columns(y, as_vector(*factors), y);
    }
    keep_output(context, x, y.dim(1), *stash);
    context.operations.scale_columns(stash->tensors.at(0), as_vector(*factors), y);
  }

  void keep(LayerContext& context, const Tensor& x, LinearStash& stash) override {
    int64_t out = 0;
    {
      const AcquiredWeight factors(context, factors_);
      out = (*factors).numel();
    }
    keep_output(context, x, out, stash);
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    keep_gradient(context, dy, stash);
    base_->backward_input(context, stash.tensors.at(1), dx, accumulate, stash.parts.at(0));
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    keep_gradient(context, dy, stash);
    base_->skip_input(context, stash.tensors.at(1), stash.parts.at(0));
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    contribute(context, factors_, [&](Tensor& gradient, bool accumulate) {
      Tensor of_factors = as_vector(gradient);
      context.operations.column_dots(dy, stash.tensors.at(0), of_factors, accumulate);
    });
    base_->backward_weight(context, x, stash.tensors.at(1), stash.parts.at(0));
  }

  void copy_rows(LayerContext&, int64_t, Tensor&) override {
    COLLIE_ASSERT(false, "the rows of a matrix with a vector were asked for; nobody has a use for them");
  }

 private:
  void keep_output(LayerContext& context, const Tensor& x, int64_t out, LinearStash& stash) {
    Tensor products = context.operations.empty({x.dim(0), out}, Category::activations);
    base_->forward(context, x, products, part_of(&stash));
    stash.tensors = {products};
  }

  void keep_gradient(LayerContext& context, const Tensor& dy, LinearStash& stash) const {
    const AcquiredWeight factors(context, factors_);
    Tensor gradient = context.operations.empty(dy.shape(), Category::activations);
    context.operations.scale_columns(dy, as_vector(*factors), gradient);
    stash.tensors.push_back(gradient);
  }

  std::unique_ptr<Linear> base_;
  ParameterId factors_;
};

}  // namespace

std::unique_ptr<Linear> make_vector_linear(std::unique_ptr<Linear> base, const VectorIds& vector) {
  if (vector.of_input) return std::make_unique<InputVectorLinear>(std::move(base), vector.factors);
  return std::make_unique<OutputVectorLinear>(std::move(base), vector.factors);
}

}  // namespace collie
