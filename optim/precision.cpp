#include "optim/precision.hpp"

#include "base/error.hpp"
#include "base/random.hpp"

namespace collie {

Precision precision_of(const OptimizerConfig& config, const std::string& model_dtype, uint64_t seed) {
  const bool narrow = model_dtype == "bfloat16";
  if (!narrow && config.grad_dtype == "bfloat16")
    throw UserError(
        "optimizer.grad_dtype: bfloat16 found, but model.dtype is {}: gradients are float32 there",
        model_dtype);
  Precision precision;
  precision.master = config.master;
  precision.full_precision_gradients = config.grad_dtype == "float32";
  precision.stochastic = config.rounding == "stochastic";
  precision.seed = seed;
  precision.narrow_states = config.state_dtype == "bfloat16";
  if (precision.stochastic && !precision.narrow_states && (!narrow || config.master))
    throw UserError(
        "optimizer.rounding: stochastic is for what is updated in bfloat16: it needs model.dtype bfloat16 "
        "(it is "
        "{}) and optimizer.master false (it is {}), or optimizer.state_dtype bfloat16 (it is {})",
        model_dtype, config.master, config.state_dtype);
  return precision;
}

uint64_t rounding_index(const std::string& name, int64_t first) {
  constexpr int element_bits = 36;
  return (random_key(0, name) >> element_bits << element_bits) + static_cast<uint64_t>(first);
}

}  // namespace collie
