#include "models/linear.hpp"

#include "models/access.hpp"

namespace collie {
namespace {

// What the two layouts share: the bias, and who hands what to the sink. `forms` are those of y = x W,
// dx = dy Wᵀ in the layout's own storage order.
class StoredLinear : public Linear {
 public:
  StoredLinear(ParameterId weight, ParameterId bias) : weight_(weight), bias_(bias) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y) override {
    const AcquiredWeight weight(context, weight_);
    if (bias_ < 0) return context.operations.gemm(forward_form(), x, *weight, y, false);
    const AcquiredWeight bias(context, bias_);
    context.operations.gemm_add_row(forward_form(), x, *weight, *bias, y);
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate) override {
    const AcquiredWeight weight(context, weight_);
    context.operations.gemm(backward_form(), dy, *weight, dx, accumulate);
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy) override {
    contribute(context, weight_, [&](Tensor& gradient, bool accumulate) {
      weight_gradient(context.operations, x, dy, gradient, accumulate);
    });
    if (bias_ < 0) return;
    contribute(context, bias_, [&](Tensor& gradient, bool accumulate) {
      context.operations.column_sum(dy, gradient, accumulate);
    });
  }

 protected:
  virtual GemmForm forward_form() const = 0;
  virtual GemmForm backward_form() const = 0;
  virtual void weight_gradient(Operations& operations, const Tensor& x, const Tensor& dy, Tensor& gradient,
                               bool accumulate) const = 0;

 private:
  ParameterId weight_, bias_;
};

// W [out, in]: y = x Wᵀ, dx = dy W, dW = dyᵀ x.
class DenseLinear final : public StoredLinear {
  using StoredLinear::StoredLinear;
  GemmForm forward_form() const override { return GemmForm::nt; }
  GemmForm backward_form() const override { return GemmForm::nn; }
  void weight_gradient(Operations& operations, const Tensor& x, const Tensor& dy, Tensor& gradient,
                       bool accumulate) const override {
    operations.gemm(GemmForm::tn, dy, x, gradient, accumulate);
  }
};

// W [in, out]: y = x W, dx = dy Wᵀ, dW = xᵀ dy.
class TransposedLinear final : public StoredLinear {
  using StoredLinear::StoredLinear;
  GemmForm forward_form() const override { return GemmForm::nn; }
  GemmForm backward_form() const override { return GemmForm::nt; }
  void weight_gradient(Operations& operations, const Tensor& x, const Tensor& dy, Tensor& gradient,
                       bool accumulate) const override {
    operations.gemm(GemmForm::tn, x, dy, gradient, accumulate);
  }
};

}  // namespace

std::unique_ptr<Linear> make_dense_linear(ParameterId weight, ParameterId bias) {
  return std::make_unique<DenseLinear>(weight, bias);
}

std::unique_ptr<Linear> make_transposed_linear(ParameterId weight, ParameterId bias) {
  return std::make_unique<TransposedLinear>(weight, bias);
}

}  // namespace collie
