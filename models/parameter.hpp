// Parameters are known by their Hugging Face names, everywhere; who holds them and where their gradients go
// is behind two seams, so that sharding, offloading and fused updates are pieces and not branches.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie {

enum class Initialisation : uint8_t { normal, ones, zeros };

struct Parameter {
  std::string name;  // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
  Shape shape;       // as in the Hugging Face file
  Initialisation initialisation = Initialisation::normal;
  double deviation = 0.02;  // of Initialisation::normal
  // A second use of a tied matrix (the head's use of the embedding): an accumulator of its own, but not a
  // parameter of the model: not counted, saved, or updated. `name` is the owner's name.
  bool tied_copy = false;
};

// Index into the parameter list of one stage model.
using ParameterId = int;

// Where a layer gets its weights: asked for before use, released after.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  virtual Tensor acquire(ParameterId id) = 0;  // of the parameter's shape; valid until release
  virtual void release(ParameterId id) = 0;    // must not throw
};

// Where backward puts a parameter's gradient for one micro-batch.
struct GradientTarget {
  Tensor gradient;          // of the parameter's shape; undefined where nobody wants it (a frozen parameter)
  bool accumulate = false;  // add to what it holds, or overwrite
};

class GradientSink {
 public:
  virtual ~GradientSink() = default;
  virtual GradientTarget open(ParameterId id) = 0;
  virtual void close(ParameterId id) = 0;  // this micro-batch's contribution is complete
};

}  // namespace collie
