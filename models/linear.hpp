// Every weight matrix is used through this interface, so that tensor-parallel, LoRA, quantised and transposed
// matrices are pieces that compose.
#pragma once

#include <memory>

#include "comm/process_group.hpp"
#include "kernels/operations.hpp"
#include "models/parameter.hpp"

namespace collie {

class CollectiveQueue;

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
};

class Linear {
 public:
  virtual ~Linear() = default;
  // x [tokens, in], y [tokens, out]; both may be row-strided.
  virtual void forward(LayerContext& context, const Tensor& x, Tensor& y) = 0;
  virtual void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate) = 0;
  // Hands its gradients to context.sink.
  virtual void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy) = 0;
};

// weight [out, in] as Hugging Face stores it; bias [out] or none (-1).
std::unique_ptr<Linear> make_dense_linear(ParameterId weight, ParameterId bias = -1);
// weight [in, out], as GPT-2 stores it.
std::unique_ptr<Linear> make_transposed_linear(ParameterId weight, ParameterId bias = -1);

}  // namespace collie
