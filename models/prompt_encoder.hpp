// What makes the rows of virtual tokens from rows that are trained, in place of training them as they are:
// P-tuning (Liu et al., arXiv 2103.10385) with a multilayer perceptron, or with an LSTM below it, and the
// projection of a prefix (Li & Liang, arXiv 2101.00190). Where there is no encoder, the rows are those.
//
// Every rank of a tensor group computes all of it but the part of a prefix that is not of its heads.
#pragma once

#include <memory>
#include <vector>

#include "models/linear.hpp"
#include "models/lstm.hpp"
#include "models/soft_prompt.hpp"

namespace collie {

// What it keeps of one micro-batch.
struct PromptStash {
  std::vector<LstmStash> lstm;
  std::vector<Tensor> inputs;   // [matrices] what each reads
  std::vector<Tensor> outputs;  // [matrices] before the activation
  // From backward_input on:
  std::vector<Tensor> d_outputs;  // [matrices]
  Tensor d_rows;
};

class PromptEncoder {
 public:
  PromptEncoder(const PromptIds& ids, const EncoderSettings& settings);

  // [v, width], also of rows alone, which are then copied.
  Tensor forward(LayerContext& context, PromptStash& stash) const;
  // d_encoded [v, width]: its gradient, which may be a rank's share of a sum.
  void backward_input(LayerContext& context, const Tensor& d_encoded, PromptStash& stash) const;
  // Hands the gradients to context.sink, the last matrix's first. Needs no weights.
  void backward_weight(LayerContext& context, PromptStash& stash) const;

 private:
  // Between two layers of LSTMs, in training. It is its own backward.
  void drop(LayerContext& context, size_t layer, Tensor& x) const;

  ParameterId rows_;
  std::vector<LstmLayer> lstm_;
  std::vector<std::unique_ptr<Linear>> matrices_;
  std::vector<int64_t> widths_;  // [matrices] of what each gives
  Activation activation_;        // of all but the last
  double dropout_;
};

}  // namespace collie
