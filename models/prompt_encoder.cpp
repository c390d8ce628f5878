#include "models/prompt_encoder.hpp"

#include <numeric>

#include "models/access.hpp"
#include "models/dropout.hpp"

namespace collie {

PromptEncoder::PromptEncoder(const PromptIds& ids, const EncoderSettings& settings)
    : rows_(ids.rows),
      widths_(ids.widths),
      activation_(settings.kind == EncoderKind::projection ? Activation::tanh : Activation::relu),
      dropout_(settings.dropout) {
  for (const auto& layer : ids.lstm) lstm_.emplace_back(layer);
  for (const MatrixIds& matrix : ids.matrices) matrices_.push_back(make_dense_linear(matrix));
}

void PromptEncoder::drop(LayerContext& context, size_t layer, Tensor& x) const {
  std::vector<uint64_t> rows(static_cast<size_t>(x.dim(0)));
  std::iota(rows.begin(), rows.end(), 0);
  drop_elements(context, dropout_, fmt::format("prompt encoder/{}", layer), rows, x);
}

Tensor PromptEncoder::forward(LayerContext& context, PromptStash& stash) const {
  Operations& operations = context.operations;
  stash = {};
  Tensor x;
  {
    const AcquiredWeight rows(context, rows_);
    x = operations.empty((*rows).shape(), Category::activations);
    operations.copy(*rows, x);
  }
  stash.lstm.resize(lstm_.size());
  for (size_t i = 0; i < lstm_.size(); ++i) {
    x = lstm_[i].forward(context, x, stash.lstm[i]);
    if (i + 1 < lstm_.size()) drop(context, i, x);
  }
  for (size_t i = 0; i < matrices_.size(); ++i) {
    Tensor y = operations.empty({x.dim(0), widths_[i]}, Category::activations);
    LinearStash nothing;
    matrices_[i]->forward(context, x, y, &nothing);
    stash.inputs.push_back(x);
    stash.outputs.push_back(y);
    x = y;
    if (i + 1 == matrices_.size()) break;
    x = operations.empty(y.shape(), Category::activations);
    operations.activate(activation_, y, x);
  }
  return x;
}

void PromptEncoder::backward_input(LayerContext& context, const Tensor& d_encoded, PromptStash& stash) const {
  Operations& operations = context.operations;
  Tensor d = d_encoded;
  stash.d_outputs.resize(matrices_.size());
  for (size_t i = matrices_.size(); i-- > 0;) {
    if (i + 1 < matrices_.size()) operations.activate_backward(activation_, stash.outputs[i], d, d);
    stash.d_outputs[i] = d;
    Tensor dx = operations.empty(stash.inputs[i].shape(), Category::activations);
    LinearStash nothing;
    matrices_[i]->backward_input(context, d, dx, false, nothing);
    d = dx;
  }
  for (size_t i = lstm_.size(); i-- > 0;) {
    if (i + 1 < lstm_.size()) drop(context, i, d);
    d = lstm_[i].backward_input(context, d, stash.lstm[i]);
  }
  stash.d_rows = std::move(d);
}

void PromptEncoder::backward_weight(LayerContext& context, PromptStash& stash) const {
  for (size_t i = matrices_.size(); i-- > 0;) {
    LinearStash nothing;
    matrices_[i]->backward_weight(context, stash.inputs[i], stash.d_outputs[i], nothing);
  }
  for (size_t i = lstm_.size(); i-- > 0;) lstm_[i].backward_weight(context, stash.lstm[i]);
  contribute_tensor(context, rows_, stash.d_rows);
  stash = {};
}

}  // namespace collie
