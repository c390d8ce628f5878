#include "models/mlp.hpp"

#include "models/tensor_parallel.hpp"

namespace collie {

Mlp::Mlp(const ModelConfig& config, const BlockIds& ids)
    : gate_(make_dense_linear(ids.gate.weight, ids.gate.bias)),
      up_(make_dense_linear(ids.up.weight, ids.up.bias)),
      down_(make_row_parallel_linear(make_dense_linear(ids.down.weight), ids.down.bias)),
      width_(config.intermediate_size) {}

void Mlp::widen(LayerContext& context, const Tensor& x, MlpStash& stash, Category category) const {
  Operations& operations = context.operations;
  Tensor inside = gather_from_sequence_region(context, x);
  const Shape shape{inside.dim(0), width_};
  stash.gate = operations.empty(shape, category);
  stash.up = operations.empty(shape, category);
  gate_->forward(context, inside, stash.gate);
  up_->forward(context, inside, stash.up);
  inside = Tensor();
  activate(operations, stash, category);
}

void Mlp::activate(Operations& operations, MlpStash& stash, Category category) const {
  stash.activated = operations.empty(stash.gate.shape(), category);
  operations.gated(Activation::silu, stash.gate, stash.up, stash.activated);
}

void Mlp::forward(LayerContext& context, const Tensor& x, Tensor& y, MlpStash* stash) const {
  MlpStash own;
  widen(context, x, own, stash ? Category::activations : Category::workspace);
  const Tensor activated = own.activated;
  if (stash) *stash = std::move(own);
  own = MlpStash();  // gate and up go before the product
  down_->forward(context, activated, y);
}

void Mlp::backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, MlpStash& stash) const {
  Operations& operations = context.operations;
  const Shape shape = stash.activated.shape();
  Tensor d_activated = operations.empty(shape, Category::workspace);
  down_->backward_input(context, dy, d_activated, false);
  stash.d_gate = operations.empty(shape, Category::activations);
  stash.d_up = operations.empty(shape, Category::activations);
  operations.gated_backward(Activation::silu, stash.gate, stash.up, d_activated, stash.d_gate, stash.d_up);
  d_activated = stash.gate = stash.up = Tensor();
  Tensor partial = partial_sums(context, dx, shape[0]);
  gate_->backward_input(context, stash.d_gate, partial, false);
  up_->backward_input(context, stash.d_up, partial, true);
  reduce_scatter_to_sequence_region(context, partial, dx);
}

void Mlp::backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, MlpStash& stash) const {
  down_->backward_weight(context, stash.activated, dy);
  stash.activated = Tensor();
  const Tensor inside = gather_from_sequence_region(context, x);  // again: the stash keeps its share only
  up_->backward_weight(context, inside, stash.d_up);
  stash.d_up = Tensor();
  gate_->backward_weight(context, inside, stash.d_gate);
  stash = MlpStash();
}

}  // namespace collie
