#include "models/mlp.hpp"

#include "models/tensor_parallel.hpp"

namespace collie {

void MlpStash::append_kept_to(std::vector<Tensor*>& all) {
  for (Tensor* tensor : {&gate, &up, &activated}) all.push_back(tensor);
  of_gate.append_to(all);
  of_up.append_to(all);
  of_down.append_to(all);
}

Mlp::Mlp(const ModelConfig& config, const BlockIds& ids, const LinearFactory& linears)
    : activation_(config.activation),
      gate_(config.gated_mlp ? linears(ids.gate) : nullptr),
      up_(linears(ids.up)),
      down_(make_row_parallel_linear(linears(ids.down.without_bias()), ids.down.bias)),
      width_(config.intermediate_size) {}

void Mlp::widen(LayerContext& context, const Tensor& x, MlpStash& stash, Category category) const {
  Operations& operations = context.operations;
  Tensor inside = gather_from_sequence_region(context, x);
  const Shape shape{inside.dim(0), width_};
  if (gate_) stash.gate = operations.empty(shape, category);
  stash.up = operations.empty(shape, category);
  if (gate_) gate_->forward(context, inside, stash.gate, &stash.of_gate);
  up_->forward(context, inside, stash.up, &stash.of_up);
  inside = Tensor();
  activate(operations, stash, category);
}

void Mlp::activate(Operations& operations, MlpStash& stash, Category category) const {
  stash.activated = operations.empty(stash.up.shape(), category);
  if (gate_)
    operations.gated(activation_, stash.gate, stash.up, stash.activated);
  else
    operations.activate(activation_, stash.up, stash.activated);
}

void Mlp::compute_what_is_cheap(Operations& operations, MlpStash& stash) const {
  activate(operations, stash, Category::activations);
}

void Mlp::forward(LayerContext& context, const TokenLayout&, const Tensor& x, Tensor& y,
                  MlpStash* stash) const {
  MlpStash own;
  widen(context, x, own, stash ? Category::activations : Category::workspace);
  const Tensor activated = own.activated;
  if (stash) *stash = std::move(own);
  own = MlpStash();  // gate and up go before the product
  down_->forward(context, activated, y, stash ? &stash->of_down : nullptr);
}

void Mlp::keep(LayerContext& context, const TokenLayout&, const Tensor& x, MlpStash& stash) const {
  widen(context, x, stash, Category::activations);
  down_->keep(context, stash.activated, stash.of_down);
}

void Mlp::backward_input(LayerContext& context, const TokenLayout&, const Tensor& dy, Tensor& dx,
                         MlpStash& stash) const {
  Operations& operations = context.operations;
  const Shape shape = stash.activated.shape();
  Tensor d_activated = operations.empty(shape, Category::workspace);
  down_->backward_input(context, dy, d_activated, false, stash.of_down);
  if (gate_) stash.d_gate = operations.empty(shape, Category::activations);
  stash.d_up = operations.empty(shape, Category::activations);
  if (gate_)
    operations.gated_backward(activation_, stash.gate, stash.up, d_activated, stash.d_gate, stash.d_up);
  else
    operations.activate_backward(activation_, stash.up, d_activated, stash.d_up);
  d_activated = stash.gate = stash.up = Tensor();
  if (!dx.defined()) {
    if (gate_) gate_->skip_input(context, stash.d_gate, stash.of_gate);
    return up_->skip_input(context, stash.d_up, stash.of_up);
  }
  Tensor partial = partial_sums(context, dx, shape[0]);
  if (gate_) gate_->backward_input(context, stash.d_gate, partial, false, stash.of_gate);
  up_->backward_input(context, stash.d_up, partial, gate_ != nullptr, stash.of_up);
  reduce_scatter_to_sequence_region(context, partial, dx);
}

void Mlp::backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, MlpStash& stash) const {
  down_->backward_weight(context, stash.activated, dy, stash.of_down);
  stash.activated = Tensor();
  const Tensor inside = gather_from_sequence_region(context, x);  // again: the stash keeps its share only
  up_->backward_weight(context, inside, stash.d_up, stash.of_up);
  stash.d_up = Tensor();
  if (gate_) gate_->backward_weight(context, inside, stash.d_gate, stash.of_gate);
  stash = MlpStash();
}

}  // namespace collie
