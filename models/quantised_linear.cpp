#include "models/quantised_linear.hpp"

#include <algorithm>

#include "models/access.hpp"

namespace collie {
namespace {

// Rows, or columns, of a tile whose other side is `across`. Whole blocks, where they fit.
int64_t tile_length(int64_t across) {
  constexpr int64_t least = 64, most = 512;
  return std::clamp(most_tile_elements / std::max<int64_t>(across, 1) / least * least, least, most);
}

// Calls f(begin, end) for tiles of [0, count).
template <class F>
void for_each_tile(int64_t count, int64_t across, F f) {
  const int64_t length = tile_length(across);
  for (int64_t begin = 0; begin < count; begin += length) f(begin, std::min(count, begin + length));
}

// y = x Wᵀ + b and dx = dy W, with W [out, in].
class QuantisedLinear final : public Linear {
 public:
  explicit QuantisedLinear(const MatrixIds& ids) : ids_(ids) {
    COLLIE_ASSERT(ids.is_quantised, "parameter {} is not quantised", ids.weight);
  }

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash*) override {
    Operations& operations = context.operations;
    const QuantisedMatrix& weight = context.source.quantised(ids_.weight);
    for_each_tile(weight.rows, weight.columns, [&](int64_t begin, int64_t end) {
      Tensor tile = operations.empty({end - begin, weight.columns}, Category::workspace);
      operations.dequantise(weight, begin, 0, tile);
      Tensor part = y.columns(begin, end);
      if (ids_.bias == no_parameter) return operations.gemm(GemmForm::nt, x, tile, part, false);
      const AcquiredWeight bias(context, ids_.bias);
      operations.gemm_add_row(GemmForm::nt, x, tile, (*bias).rows(begin, end), part);
    });
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash&) override {
    Operations& operations = context.operations;
    const QuantisedMatrix& weight = context.source.quantised(ids_.weight);
    for_each_tile(weight.columns, weight.rows, [&](int64_t begin, int64_t end) {
      Tensor tile = operations.empty({weight.rows, end - begin}, Category::workspace);
      operations.dequantise(weight, 0, begin, tile);
      Tensor part = dx.columns(begin, end);
      operations.gemm(GemmForm::nn, dy, tile, part, accumulate);
    });
  }

  void backward_weight(LayerContext& context, const Tensor&, const Tensor& dy, LinearStash&) override {
    if (ids_.bias == no_parameter) return;
    contribute(context, ids_.bias, [&](Tensor& gradient, bool accumulate) {
      context.operations.column_sum(dy, gradient, accumulate);
    });
  }

  void copy_rows(LayerContext& context, int64_t first, Tensor& rows) override {
    context.operations.dequantise(context.source.quantised(ids_.weight), first, 0, rows);
  }

 private:
  MatrixIds ids_;
};

}  // namespace

std::unique_ptr<Linear> make_quantised_linear(const MatrixIds& matrix) {
  return std::make_unique<QuantisedLinear>(matrix);
}

}  // namespace collie
