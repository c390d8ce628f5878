#include "peft/magnitude_linear.hpp"

#include <algorithm>
#include <utility>

#include "models/access.hpp"

namespace collie {
namespace {

// The stash's tensors are V x / |V| [tokens, out], 1 / |V| [out] and, once it is known, dy ⊙ m / |V|
// [tokens, out].
class MagnitudeLinear final : public Linear {
 public:
  MagnitudeLinear(std::unique_ptr<Linear> direction, const LowRankIds& adapter, ParameterId bias)
      : direction_(std::move(direction)), adapter_(adapter), bias_(bias) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    Operations& operations = context.operations;
    if (stash == nullptr) {
      direction_->forward(context, x, y, nullptr);
      operations.scale_columns(y, inverse_lengths(context, x.dim(1), Category::workspace), y);
    } else {
      keep_products(context, x, y.dim(1), *stash);
    }
    const AcquiredWeight magnitude(context, adapter_.magnitude);
    operations.scale_columns(stash ? stash->tensors.at(0) : y, *magnitude, y);
    if (bias_ == no_parameter) return;
    const AcquiredWeight bias(context, bias_);
    operations.add_row(y, *bias);
  }

  void keep(LayerContext& context, const Tensor& x, LinearStash& stash) override {
    const AcquiredWeight magnitude(context, adapter_.magnitude);
    keep_products(context, x, (*magnitude).dim(0), stash);
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    keep_gradient(context, dy, stash);
    direction_->backward_input(context, stash.tensors.at(2), dx, accumulate, stash.parts.at(0));
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    keep_gradient(context, dy, stash);
    direction_->skip_input(context, stash.tensors.at(2), stash.parts.at(0));
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    if (bias_ != no_parameter)
      contribute(context, bias_, [&](Tensor& gradient, bool accumulate) {
        context.operations.column_sum(dy, gradient, accumulate);
      });
    contribute(context, adapter_.magnitude, [&](Tensor& gradient, bool accumulate) {
      context.operations.column_dots(dy, stash.tensors.at(0), gradient, accumulate);
    });
    direction_->backward_weight(context, x, stash.tensors.at(2), stash.parts.at(0));
  }

  void copy_rows(LayerContext&, int64_t, Tensor&) override {
    COLLIE_ASSERT(false, "the rows of a matrix with a magnitude were asked for; nobody has a use for them");
  }

 private:
  // Rows of V that are in memory at a time.
  static constexpr int64_t rows_at_once = 256;

  void keep_products(LayerContext& context, const Tensor& x, int64_t out, LinearStash& stash) {
    stash.parts.resize(1);
    Tensor products = context.operations.empty({x.dim(0), out}, Category::activations);
    direction_->forward(context, x, products, &stash.parts.front());
    const Tensor inverse = inverse_lengths(context, x.dim(1), Category::activations);
    context.operations.scale_columns(products, inverse, products);
    stash.tensors = {products, inverse};
  }

  void keep_gradient(LayerContext& context, const Tensor& dy, LinearStash& stash) const {
    const AcquiredWeight magnitude(context, adapter_.magnitude);
    Tensor gradient = context.operations.empty(dy.shape(), Category::activations);
    context.operations.scale_columns(dy, *magnitude, gradient);
    context.operations.scale_columns(gradient, stash.tensors.at(1), gradient);
    stash.tensors.push_back(gradient);
  }

  // 1 / |V| [out] in accumulation_dtype()
  Tensor inverse_lengths(LayerContext& context, int64_t in, Category category) {
    Operations& operations = context.operations;
    int64_t out = 0;
    {
      const AcquiredWeight magnitude(context, adapter_.magnitude);
      out = (*magnitude).dim(0);
    }
    Tensor lengths = operations.empty({out}, operations.accumulation_dtype(), category);
    for (int64_t first = 0; first < out; first += rows_at_once) {
      const int64_t last = std::min(first + rows_at_once, out);
      Tensor rows = operations.empty({last - first, in}, Category::workspace);
      direction_->copy_rows(context, first, rows);
      Tensor sums = lengths.rows(first, last);
      operations.row_sums_of_squares(rows, sums);
    }
    if (adapter_.shares_rows && context.tensor != nullptr) context.tensor->all_reduce_sum(lengths);
    operations.inverse_roots(lengths);
    return lengths;
  }

  std::unique_ptr<Linear> direction_;
  LowRankIds adapter_;
  ParameterId bias_;
};

}  // namespace

std::unique_ptr<Linear> make_magnitude_linear(std::unique_ptr<Linear> direction, const LowRankIds& adapter,
                                              ParameterId bias) {
  return std::make_unique<MagnitudeLinear>(std::move(direction), adapter, bias);
}

}  // namespace collie
