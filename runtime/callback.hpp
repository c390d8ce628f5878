// Callbacks watch a run, and may end it or leave out updates. The engine has some (runtime/callbacks/); a
// host program or a plugin adds its own. They are found by their names in `callbacks:`.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/registry.hpp"
#include "io/callback_options.hpp"
#include "runtime/events.hpp"

namespace collie {

// What a callback can ask of its run, from within its events.
class RunControl {
 public:
  virtual ~RunControl() = default;
  // Ends the run after the step that is being computed, with a checkpoint and the final model. `why` is for
  // people.
  virtual void stop(const std::string& why) = 0;
  // Writes a checkpoint after the step that is being computed.
  virtual void save_checkpoint() = 0;
  virtual void warn(const std::string& what) = 0;  // a message for people
  virtual double running_s() const = 0;            // since all ranks were ready
};

struct RunFacts {
  int64_t done_steps = 0, total_steps = 0;  // a resumed run starts after its checkpoint's step
  int ranks = 1;
};

// Above one of these a step updates nothing. They are known before the step, because the ranks decide without
// asking.
struct StepLimits {
  double loss = std::numeric_limits<double>::infinity();  // mean per token over the global batch
  double grad_norm = std::numeric_limits<double>::infinity();
};

// A step that has updated nothing, because its loss or its norm is not finite or above a limit.
struct RejectedStep {
  int64_t step = 0;
  double loss = 0, grad_norm = 0;
  bool finite = true;
  std::string what;  // "loss is nan", "gradient norm is 812.3, above 40.1"
  std::string data;  // which sequences, for people
};

// What becomes of a run after such a step. Of what several callbacks say, the one furthest down counts.
enum class Remedy : uint8_t {
  none,  // the callback has nothing to say. If all are of that mind, the run ends as failed
  skip,  // it goes on with the next step
  stop,  // it ends, with a checkpoint and the final model of the weights before the step
};

// The trainer calls the events of all callbacks in the order of the configuration, on its own thread, between
// programs; so they should be brief. An exception ends the run as failed. The names in brackets are those of
// CoLLiE's events.
class Callback {
 public:
  virtual ~Callback() = default;

  // The trainer is there; ranks are not. [after_trainer_initialized]
  virtual void on_initialised(const RunFacts&) {}
  // Every rank has its part of the model, with its weights. [setup_parallel_model, load_model]
  virtual void on_model_ready() {}
  virtual void on_train_begin() {}
  // No step follows. The last checkpoint and final/ are written, unless the run was interrupted.
  virtual void on_train_end() {}
  virtual void on_epoch_begin(int64_t /*epoch*/) {}  // from 0
  virtual void on_epoch_end(int64_t /*epoch*/) {}
  virtual StepLimits on_step_begin(int64_t /*step*/) { return {}; }  // [train_batch_begin]
  virtual void on_step(const StepFinished&) {}                       // [train_batch_end]
  // A step has updated nothing. on_step() follows if it is skipped.
  virtual Remedy on_rejected(const RejectedStep&) { return Remedy::none; }
  virtual void on_evaluation_begin(int64_t /*step*/) {}
  virtual void on_evaluation(const EvaluationFinished&) {}  // [evaluate_end]
  // final/ is about to be written, from the weights after that step.
  virtual void on_save_model(int64_t /*step*/) {}

  // What a checkpoint keeps of the callback, and gives back to the run that resumes it. null: nothing.
  // [save_checkpoint, load_checkpoint]
  virtual nlohmann::json save_state() const { return nullptr; }
  virtual void load_state(const nlohmann::json&) {}

  void attach(RunControl& run) { run_ = &run; }  // before any event

 protected:
  RunControl& run() const { return *run_; }

 private:
  RunControl* run_ = nullptr;
};

using CallbackFactory = std::function<std::unique_ptr<Callback>(const OptionValues& in_force)>;
Registry<CallbackFactory>& callbacks();

// Registers a callback of a host program or a plugin, and declares its options.
void add_callback(const std::string& name, CallbackFactory factory, CallbackDeclaration declaration = {});

// Those that the configuration names, in its order, each with its name. Throws UserError as
// callbacks().find() does.
struct NamedCallback {
  std::string name;
  std::unique_ptr<Callback> callback;
};
std::vector<NamedCallback> make_callbacks(const Config& config);

}  // namespace collie
