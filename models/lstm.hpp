// A layer of an LSTM that reads one short sequence in both directions (Hochreiter & Schmidhuber, Neural
// Computation 9, 1997; Schuster & Paliwal, IEEE Transactions on Signal Processing 45, 1997), with PyTorch's
// parameters: the gates i, f, g, o one after another, and two biases.
#pragma once

#include <array>

#include "models/linear.hpp"

namespace collie {

// What a direction keeps from its forward until its backward. c is the cell, h what it gives.
struct LstmDirectionStash {
  Tensor gates;                     // [steps, 4 hidden] before their activations
  Tensor tanh_g, cells, tanh_c, h;  // [steps, hidden]
  Tensor d_gates;                   // from backward_input on
};
struct LstmStash {
  Tensor x;  // [steps, in]
  std::array<LstmDirectionStash, 2> directions;
};

class LstmLayer {
 public:
  // [0]: from the first step on; [1]: from the last.
  explicit LstmLayer(const std::array<LstmIds, 2>& ids) : ids_(ids) {}

  // x [steps, in] -> [steps, 2 hidden]: what each direction gives at each step, side by side.
  Tensor forward(LayerContext& context, const Tensor& x, LstmStash& stash) const;
  // dy [steps, 2 hidden] -> dx [steps, in].
  Tensor backward_input(LayerContext& context, const Tensor& dy, LstmStash& stash) const;
  // Hands the gradients to context.sink. Needs no weights.
  void backward_weight(LayerContext& context, const LstmStash& stash) const;

 private:
  std::array<LstmIds, 2> ids_;
};

}  // namespace collie
