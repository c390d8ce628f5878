#include "models/mlp.hpp"

#include <utility>
#include <vector>

#include "models/tensor_parallel.hpp"

namespace collie {
namespace {

// What reads the stream: gate and up, stored as one matrix or as two, or up alone.
std::unique_ptr<Linear> make_wide(const ModelConfig& config, const BlockIds& ids,
                                  const LinearFactory& linears) {
  if (ids.gate_up.exists()) return linears(ids.gate_up);
  if (!config.gated_mlp) return linears(ids.up);
  std::vector<std::unique_ptr<Linear>> parts;
  for (const MatrixIds& matrix : {ids.gate, ids.up}) parts.push_back(linears(matrix));
  return make_split_linear(std::move(parts), {config.intermediate_size, config.intermediate_size});
}

}  // namespace

void MlpStash::append_kept_to(std::vector<Tensor*>& all) {
  for (Tensor* tensor : {&wide, &activated}) all.push_back(tensor);
  of_wide.append_to(all);
  of_down.append_to(all);
}

Mlp::Mlp(const ModelConfig& config, const BlockIds& ids, const LinearFactory& linears)
    : activation_(config.activation),
      is_gated_(config.gated_mlp),
      wide_(make_wide(config, ids, linears)),
      down_(make_row_parallel_linear(linears(ids.down.without_bias()), ids.down.bias)),
      width_(config.intermediate_size) {}

void Mlp::widen(LayerContext& context, const Tensor& x, MlpStash& stash, Category category) const {
  Operations& operations = context.operations;
  Tensor inside = gather_from_sequence_region(context, x);
  stash.wide = operations.empty({inside.dim(0), is_gated_ ? 2 * width_ : width_}, category);
  wide_->forward(context, inside, stash.wide, &stash.of_wide);
  inside = Tensor();
  activate(operations, stash, category);
}

void Mlp::activate(Operations& operations, MlpStash& stash, Category category) const {
  stash.activated = operations.empty({stash.wide.dim(0), width_}, category);
  if (is_gated_)
    operations.gated(activation_, gate_of(stash.wide), up_of(stash.wide), stash.activated);
  else
    operations.activate(activation_, stash.wide, stash.activated);
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
  own = MlpStash();  // the wide buffer goes before the product
  down_->forward(context, activated, y, stash ? &stash->of_down : nullptr);
}

void Mlp::keep(LayerContext& context, const TokenLayout&, const Tensor& x, MlpStash& stash) const {
  widen(context, x, stash, Category::activations);
  down_->keep(context, stash.activated, stash.of_down);
}

void Mlp::backward_input(LayerContext& context, const TokenLayout&, const Tensor& dy, Tensor& dx,
                         MlpStash& stash) const {
  Operations& operations = context.operations;
  Tensor d_activated = operations.empty(stash.activated.shape(), Category::workspace);
  down_->backward_input(context, dy, d_activated, false, stash.of_down);
  stash.d_wide = operations.empty(stash.wide.shape(), Category::activations);
  Tensor d_up = up_of(stash.d_wide);
  if (is_gated_) {
    Tensor d_gate = gate_of(stash.d_wide);
    operations.gated_backward(activation_, gate_of(stash.wide), up_of(stash.wide), d_activated, d_gate, d_up);
  } else {
    operations.activate_backward(activation_, stash.wide, d_activated, d_up);
  }
  d_activated = d_up = stash.wide = Tensor();
  if (!dx.defined()) return wide_->skip_input(context, stash.d_wide, stash.of_wide);
  Tensor partial = partial_sums(context, dx, stash.d_wide.dim(0));
  wide_->backward_input(context, stash.d_wide, partial, false, stash.of_wide);
  reduce_scatter_to_sequence_region(context, partial, dx);
}

void Mlp::backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, MlpStash& stash) const {
  down_->backward_weight(context, stash.activated, dy, stash.of_down);
  stash.activated = Tensor();
  const Tensor inside = gather_from_sequence_region(context, x);  // again: the stash keeps its share only
  wide_->backward_weight(context, inside, stash.d_wide, stash.of_wide);
  stash = MlpStash();
}

}  // namespace collie
