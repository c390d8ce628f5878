// Pieces of a host program (or of the engine) that watch a run and may end it. Found by name in `callbacks:`.
#pragma once

#include <functional>
#include <memory>

#include "base/registry.hpp"
#include "runtime/events.hpp"

namespace collie {

class Callback {
 public:
  virtual ~Callback() = default;
  // Called in the trainer after every step, before the next one starts, so it should be brief. True: stop the
  // run after this step, with a checkpoint and the final model written. An exception ends the run as failed.
  virtual bool on_step(const StepFinished& step) = 0;
  virtual void on_evaluation(const EvaluationFinished&) {}
};

using CallbackFactory = std::function<std::unique_ptr<Callback>()>;
Registry<CallbackFactory>& callbacks();

}  // namespace collie
