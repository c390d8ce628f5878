// The feed-forward half of a block: down(activation(gate(x)) · up(x)), or down(activation(up(x))). With
// tensor parallelism a rank has a share of the width `intermediate`.
#pragma once

#include <memory>

#include "models/attention.hpp"
#include "models/linear.hpp"
#include "models/model_config.hpp"

namespace collie {

struct MlpStash {
  Tensor gate, up;      // [tokens, intermediate]; until backward_input; no gate where there is none
  Tensor activated;     // [tokens, intermediate], input of down
  Tensor d_gate, d_up;  // [tokens, intermediate], from backward_input on
  LinearStash of_gate, of_up, of_down;

  void append_kept_to(std::vector<Tensor*>& all);
};

class Mlp {
 public:
  using Stash = MlpStash;

  // `config`: of what the rank computes (share_of() in sharding.hpp).
  Mlp(const ModelConfig& config, const BlockIds& ids, const LinearFactory& linears);

  // x, y [tokens, hidden], those that the rank holds outside the matrices (tensor_parallel.hpp). `stash` is
  // null where there is no backward.
  void forward(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
               MlpStash* stash) const;
  // Fills the stash as forward does, where y is not needed again.
  void keep(LayerContext& context, const TokenLayout& layout, const Tensor& x, MlpStash& stash) const;
  // What costs no matrix product may be dropped and computed again.
  void forget_what_is_cheap(MlpStash& stash) const { stash.activated = Tensor(); }
  void compute_what_is_cheap(Operations& operations, MlpStash& stash) const;
  // Overwrites dx; if it is undefined, nobody needs it.
  void backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& dy, Tensor& dx,
                      MlpStash& stash) const;
  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy, MlpStash& stash) const;

 private:
  // All but the product with down.
  void widen(LayerContext& context, const Tensor& x, MlpStash& stash, Category category) const;
  void activate(Operations& operations, MlpStash& stash, Category category) const;

  Activation activation_;
  std::unique_ptr<Linear> gate_, up_, down_;  // no gate_ where there is none
  int64_t width_;
};

}  // namespace collie
