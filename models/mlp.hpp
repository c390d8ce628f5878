// The feed-forward half of a block: down(SwiGLU(gate(x), up(x))). With tensor parallelism a rank has a share
// of the width `intermediate`.
#pragma once

#include <memory>

#include "models/linear.hpp"
#include "models/model_config.hpp"
#include "models/parameter_list.hpp"

namespace collie {

struct MlpStash {
  Tensor gate, up;      // [tokens, intermediate]; until backward_input
  Tensor activated;     // [tokens, intermediate], input of down
  Tensor d_gate, d_up;  // [tokens, intermediate], from backward_input on
};

class Mlp {
 public:
  // `config`: of what the rank computes (share_of() in sharding.hpp).
  Mlp(const ModelConfig& config, const BlockIds& ids);

  // x, y [tokens, hidden], those that the rank holds outside the matrices (tensor_parallel.hpp). `stash` is
  // null where there is no backward.
  void forward(LayerContext& context, const Tensor& x, Tensor& y, MlpStash* stash) const;
  // The parts of forward that backward needs: gate, up and activated of x; activated of gate and up.
  void widen(LayerContext& context, const Tensor& x, MlpStash& stash, Category category) const;
  void activate(Operations& operations, MlpStash& stash, Category category) const;
  // Overwrites dx.
  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, MlpStash& stash) const;
  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, MlpStash& stash) const;

 private:
  std::unique_ptr<Linear> gate_, up_, down_;
  int64_t width_;
};

}  // namespace collie
