#include "models/bottleneck.hpp"

namespace collie {

using Reads = BottleneckAdapter::Reads;

Bottleneck::Bottleneck(const BottleneckIds& ids, const BottleneckAdapter& adapter)
    : adapter_(adapter), down_(make_dense_linear(ids.down)), up_(make_dense_linear(ids.up)) {}

void Bottleneck::forward(LayerContext& context, ResidualStream& stream, BottleneckStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  const Shape shape = stream.delta.shape();
  Tensor read = stream.x;
  if (adapter_.reads == Reads::sum) {
    read = operations.empty(shape, category);
    operations.add(stream.x, stream.delta, read);
  } else if (adapter_.reads == Reads::given) {
    read = stream.delta;
    if (stash) {  // what is given changes
      read = operations.empty(shape, category);
      operations.copy(stream.delta, read);
    }
  }
  Tensor narrow = operations.empty({shape[0], adapter_.size}, category);
  down_->forward(context, read, narrow, nullptr);
  Tensor active = operations.empty(narrow.shape(), category);
  operations.activate(adapter_.activation, narrow, active);
  Tensor wide = operations.empty(shape, Category::workspace);
  up_->forward(context, active, wide, nullptr);
  if (adapter_.scale != 1) operations.scale(wide, adapter_.scale);
  operations.add(stream.delta, wide, stream.delta);
  if (stash) *stash = {read, narrow, active, {}, {}};
}

Bottleneck::Gradients Bottleneck::backward_input(LayerContext& context, const Tensor& d_output,
                                                 const Tensor& d_stream, BottleneckStash& stash) const {
  Operations& operations = context.operations;
  LinearStash nothing;
  stash.d_up = d_output;
  if (adapter_.scale != 1) {
    stash.d_up = operations.empty(d_output.shape(), Category::activations);
    operations.copy(d_output, stash.d_up);
    operations.scale(stash.d_up, adapter_.scale);
  }
  stash.d_narrow = operations.empty(stash.narrow.shape(), Category::activations);
  up_->backward_input(context, stash.d_up, stash.d_narrow, false, nothing);
  operations.activate_backward(adapter_.activation, stash.narrow, stash.d_narrow, stash.d_narrow);
  Tensor d_read = operations.empty(d_output.shape(), Category::activations);
  down_->backward_input(context, stash.d_narrow, d_read, false, nothing);
  Gradients gradients{d_output, d_stream};
  const auto added = [&](const Tensor& to) {
    Tensor sum = operations.empty(to.shape(), Category::activations);
    operations.add(to, d_read, sum);
    return sum;
  };
  if (adapter_.reads != Reads::input) gradients.given = added(d_output);
  if (adapter_.reads != Reads::given) gradients.stream = added(d_stream);
  return gradients;
}

void Bottleneck::backward_weight(LayerContext& context, const BottleneckStash& stash) const {
  LinearStash nothing;
  up_->backward_weight(context, stash.active, stash.d_up, nothing);
  down_->backward_weight(context, stash.read, stash.d_narrow, nothing);
}

}  // namespace collie
