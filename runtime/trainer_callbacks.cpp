// When a trainer's core calls which event of its callbacks, and what they keep in checkpoints.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/trainer_core.hpp"

namespace collie {

// Calls all callbacks. Returns false if one threw; the run has then ended.
bool TrainerCore::call_back(const std::function<void(Callback& callback)>& call) {
  for (const NamedCallback& each : callbacks_) {
    try {
      call(*each.callback);
    } catch (const std::exception& error) {
      fail({settings_.tag, FailureKind::run, fmt::format("callback {} at step {}", each.name, step_),
            error.what()});
      return false;
    }
  }
  return true;
}

void TrainerCore::initialise_callbacks() {
  if (std::exchange(initialised_, true) || settings_.purpose != Purpose::train) return;
  call_back([&](Callback& callback) {
    callback.on_initialised({settings_.done_steps, settings_.total_steps, settings_.layout.grid.ranks()});
  });
}

// Callbacks that the checkpoint knows nothing of begin anew. Those that the run has no more are forgotten.
bool TrainerCore::begin_training() {
  const auto load = [&] {
    for (const NamedCallback& each : callbacks_) {
      const auto state = settings_.callback_states.find(each.name);
      if (state == settings_.callback_states.end()) continue;
      try {
        each.callback->load_state(*state);
      } catch (const std::exception& error) {
        fail({settings_.tag, FailureKind::input, "",
              fmt::format("callback {}: what the checkpoint of step {} has of it cannot be read: {}",
                          each.name, step_, error.what())});
        return false;
      }
    }
    return true;
  };
  return call_back([](Callback& callback) { callback.on_model_ready(); }) && load() &&
         call_back([](Callback& callback) { callback.on_train_begin(); });
}

bool TrainerCore::begin_callbacks_step() {
  const int64_t epoch = batch_.front()->epoch;
  if (epoch != epoch_begun_ && !call_back([&](Callback& callback) { callback.on_epoch_begin(epoch); }))
    return false;
  epoch_begun_ = epoch;
  limits_ = {};
  return call_back([&](Callback& callback) {
    const StepLimits limits = callback.on_step_begin(step_);
    limits_.loss = std::min(limits_.loss, limits.loss);
    limits_.grad_norm = std::min(limits_.grad_norm, limits.grad_norm);
  });
}

bool TrainerCore::end_callbacks_epoch() {
  if (!settings_.cadence.epochs_done || !settings_.cadence.epochs_done(position_).just_ended) return true;
  return call_back([&](Callback& callback) { callback.on_epoch_end(epoch_begun_); });
}

bool TrainerCore::end_callbacks_training() {
  if (std::exchange(training_ended_, true)) return true;
  return call_back([](Callback& callback) { callback.on_train_end(); });
}

std::string TrainerCore::states_of_callbacks() const {
  nlohmann::json states = nlohmann::json::object();
  for (const NamedCallback& each : callbacks_)
    if (nlohmann::json state = each.callback->save_state(); !state.is_null())
      states[each.name] = std::move(state);
  return states.empty() ? "" : states.dump();
}

void TrainerCore::stop(const std::string& why) {
  if (stop_) return;
  outbox_.warn(why + "; the run ends");
  stop(RunStatus::stopped);
}

}  // namespace collie
