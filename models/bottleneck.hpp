// A bottleneck at the end of a branch of a block (adapters.hpp): what the branch adds to the residual stream
// gets scale · up(activation(down(u))), where u is what the branch gives, or the stream after or before it.
#pragma once

#include <memory>
#include <vector>

#include "models/adapters.hpp"
#include "models/linear.hpp"
#include "models/residual.hpp"

namespace collie {

// What it keeps of one micro-batch.
struct BottleneckStash {
  Tensor read;            // u [tokens, hidden]
  Tensor narrow, active;  // down(u), activation(down(u)) [tokens, size]
  // From backward_input on, for backward_weight:
  Tensor d_up, d_narrow;  // of up's output [tokens, hidden], of narrow

  void append_kept_to(std::vector<Tensor*>& all) {
    for (Tensor* tensor : {&read, &narrow, &active}) all.push_back(tensor);
  }
};

class Bottleneck {
 public:
  Bottleneck(const BottleneckIds& ids, const BottleneckAdapter& adapter);

  // Adds to stream.delta. `stash` is null where there is no backward.
  void forward(LayerContext& context, ResidualStream& stream, BottleneckStash* stash) const;

  // The gradients of what the branch gives, without the bottleneck, and of the stream before it, beside what
  // goes through the branch. Both [tokens, hidden].
  struct Gradients {
    Tensor given, stream;
  };
  // d_output is that of what the branch gives with the bottleneck, d_stream that of the stream before it.
  Gradients backward_input(LayerContext& context, const Tensor& d_output, const Tensor& d_stream,
                           BottleneckStash& stash) const;
  void backward_weight(LayerContext& context, const BottleneckStash& stash) const;

 private:
  BottleneckAdapter adapter_;
  std::shared_ptr<Linear> down_, up_;  // a branch is copied with its parts
};

}  // namespace collie
