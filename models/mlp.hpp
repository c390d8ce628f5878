// The feed-forward half of a block: down(activation(gate(x)) · up(x)), or down(activation(up(x))). With
// tensor parallelism a rank has a share of the width `intermediate`.
#pragma once

#include <memory>

#include "models/attention.hpp"
#include "models/linear.hpp"
#include "models/model_config.hpp"

namespace collie {

struct MlpStash {
  Tensor wide;       // [tokens, intermediate] of up, or twice as wide: gate, then up; until backward_input
  Tensor activated;  // [tokens, intermediate], input of down
  Tensor d_wide;     // of wide's shape, from backward_input on
  LinearStash of_wide, of_down;

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
  // The two halves of a buffer of a gated MLP; up is all of it where there is no gate.
  Tensor gate_of(const Tensor& wide) const { return wide.columns(0, width_); }
  Tensor up_of(const Tensor& wide) const { return is_gated_ ? wide.columns(width_, 2 * width_) : wide; }
  // All but the product with down.
  void widen(LayerContext& context, const Tensor& x, MlpStash& stash, Category category) const;
  void activate(Operations& operations, MlpStash& stash, Category category) const;

  Activation activation_;
  bool is_gated_;
  std::unique_ptr<Linear> wide_, down_;  // up, or gate and up
  int64_t width_;
};

}  // namespace collie
