// Every weight matrix is used through this interface, so that tensor-parallel, LoRA, quantised and split
// matrices are pieces that compose.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/process_group.hpp"
#include "kernels/operations.hpp"
#include "models/parameter.hpp"
#include "models/parameter_ids.hpp"

namespace collie {

class CollectiveQueue;

// What the dropout masks of a step are drawn from (dropout.hpp).
struct DropoutDraw {
  uint64_t seed = 0;
  int64_t step = 0;
};

// What the labels of a step are drawn from where the model samples them (sampled_labels.hpp).
struct LabelDraw {
  uint64_t seed = 0;
  int64_t step = 0;
};

// What a layer computes with. `sink` is null where no weight gradients are wanted; a group, or a group's
// queue, is null where the rank has nobody to share that dimension with.
struct LayerContext {
  Operations& operations;
  ParameterSource& source;
  GradientSink* sink = nullptr;
  ProcessGroup* tensor = nullptr;      // the ranks that hold the other parts of the same matrices
  CollectiveQueue* context = nullptr;  // of the ranks that hold the other tokens of the same sequences
  // Set by the stage, for its layers, with sequence parallelism: the tokens of which each rank of the tensor
  // group holds a share outside the matrices. -1: every rank holds all of them.
  int64_t sequence_tokens = -1;
  std::optional<DropoutDraw> dropout = {};    // in training, of a model that drops
  std::optional<LabelDraw> labels = {};       // where the head samples labels in place of the batch's
  std::span<const uint64_t> token_rows = {};  // the numbers of all tokens inside the matrices, in training
  // Whether this micro-batch's gradients have what a step's have once beside those of its tokens: those of a
  // term of the loss that depends on weights alone. All ranks of a tensor group say the same.
  bool regularises = false;
  // Set by the stage, of a model whose virtual tokens have an encoder: what it gave (the embedding's rows, or
  // keys and values of all blocks), and, of a prefix, where its gradient goes in
  // backward.
  const Tensor* prompt = nullptr;
  Tensor* d_prompt = nullptr;
};

// What a Linear keeps of one micro-batch beside its input, from its forward until its backward_weight. It
// alone understands it.
struct LinearStash {
  std::vector<Tensor> tensors;
  std::vector<LinearStash> parts;  // of those that it is made of

  // All tensors, those of the parts included.
  void append_to(std::vector<Tensor*>& all);
};

class Linear {
 public:
  virtual ~Linear() = default;
  // x [tokens, in], y [tokens, out]; both may be row-strided. `stash` is null where there is no backward.
  virtual void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) = 0;
  // Fills the stash as forward does, where y is not needed again.
  virtual void keep(LayerContext& /*context*/, const Tensor& /*x*/, LinearStash& /*stash*/) {}
  virtual void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                              LinearStash& stash) = 0;
  // In place of backward_input, where nobody needs dx: keeps what backward_weight needs of weights.
  virtual void skip_input(LayerContext& /*context*/, const Tensor& /*dy*/, LinearStash& /*stash*/) {}
  // Hands its gradients to context.sink. Needs no weights.
  virtual void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                               LinearStash& stash) = 0;
  // rows [n, in] become rows [first, first + n) of the matrix that x is multiplied with, adapters included.
  virtual void copy_rows(LayerContext& context, int64_t first, Tensor& rows) = 0;
};

// weight [out, in], which may be quantised (models/quantised_linear.hpp); bias [out], or none (no_parameter).
// Asserts that it has no adapters, which are another's (peft/adapted_linear.hpp).
std::unique_ptr<Linear> make_dense_linear(const MatrixIds& matrix);
// Parts that read the same x and write columns of the same y, one after another: part i writes widths[i].
std::unique_ptr<Linear> make_split_linear(std::vector<std::unique_ptr<Linear>> parts,
                                          std::vector<int64_t> widths);

// Makes the Linear of a matrix of the model; adapters and quantised weights wrap what it makes.
using LinearFactory = std::function<std::unique_ptr<Linear>(const MatrixIds& matrix)>;

}  // namespace collie
