#include "runtime/callback.hpp"

#include <utility>

#include "runtime/callbacks/callbacks.hpp"

namespace collie {

Registry<CallbackFactory>& callbacks() {
  static Registry<CallbackFactory>& registry = []() -> Registry<CallbackFactory>& {
    static Registry<CallbackFactory> all("callback", "callbacks");
    all.add("early_stopping", make_early_stopping);
    // It has nothing to do while the run goes on (CallbackDeclaration::final_is_best).
    all.add("load_best", [](const OptionValues&) { return std::make_unique<Callback>(); });
    // Ranks do it with every update (optim/moving_average.hpp).
    all.add("ema", [](const OptionValues&) { return std::make_unique<Callback>(); });
    all.add("non_finite_guard", make_non_finite_guard);
    all.add("spike_guard", make_spike_guard);
    all.add("time_limit", make_time_limit);
    return all;
  }();
  return registry;
}

void add_callback(const std::string& name, CallbackFactory factory, CallbackDeclaration declaration) {
  callbacks().add(name, std::move(factory));
  callback_declarations().add(name, std::move(declaration));
}

std::vector<NamedCallback> make_callbacks(const Config& config) {
  std::vector<NamedCallback> all;
  for (const CallbackConfig& each : config.callbacks)
    all.push_back({each.name, callbacks().find(each.name)(options_in_force(each))});
  return all;
}

}  // namespace collie
