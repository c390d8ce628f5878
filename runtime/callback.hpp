// Callbacks of a host program or of the engine watch a run and may end it. They are found by their name in
// `callbacks:`.
#pragma once

#include <functional>
#include <memory>

#include "base/registry.hpp"
#include "runtime/events.hpp"

namespace collie {

class Callback {
 public:
  virtual ~Callback() = default;
  // The trainer calls this after every step, before the next one starts, so it should be brief. True stops
  // the run after this step and writes a checkpoint and the final model. An exception ends the run as failed.
  virtual bool on_step(const StepFinished& step) = 0;
  virtual void on_evaluation(const EvaluationFinished&) {}
};

using CallbackFactory = std::function<std::unique_ptr<Callback>()>;
Registry<CallbackFactory>& callbacks();

}  // namespace collie
