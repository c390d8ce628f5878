#include "peft/dropped_input.hpp"

#include "models/dropout.hpp"

namespace collie {
namespace {

void drop(LayerContext& context, const LowRankIds& adapter, Tensor& x) {
  drop_elements(context, adapter.dropout, adapter.place, context.token_rows, x, adapter.first_column);
}

}  // namespace

Tensor dropped_input(LayerContext& context, const LowRankIds& adapter, const Tensor& x) {
  if (!context.dropout || adapter.dropout == 0) return x;
  Tensor rest = context.operations.empty(x.shape(), Category::workspace);
  context.operations.copy(x, rest);
  drop(context, adapter, rest);
  return rest;
}

void add_to_input(LayerContext& context, const LowRankIds& adapter, const Tensor& d_narrow, const Tensor& a,
                  Tensor& dx) {
  Operations& operations = context.operations;
  if (!context.dropout || adapter.dropout == 0) return operations.gemm(GemmForm::nn, d_narrow, a, dx, true);
  Tensor share = operations.empty(dx.shape(), Category::workspace);
  operations.gemm(GemmForm::nn, d_narrow, a, share, false);
  drop(context, adapter, share);
  operations.add(dx, share, dx);
}

}  // namespace collie
