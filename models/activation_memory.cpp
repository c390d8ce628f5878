#include "models/activation_memory.hpp"

#include "base/error.hpp"

namespace collie {

Recompute recompute_of(const std::string& name) {
  if (name == "none") return Recompute::none;
  if (name == "selective") return Recompute::selective;
  if (name == "full") return Recompute::full;
  throw UserError("model.recompute: {} is none of none, selective, full", name);
}

}  // namespace collie
