#include "runtime/callback.hpp"

namespace collie {

Registry<CallbackFactory>& callbacks() {
  static Registry<CallbackFactory> registry("callback", "callbacks");
  return registry;
}

}  // namespace collie
