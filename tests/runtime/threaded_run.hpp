// A whole training run without actors: the cores and workers that the actors are made of, each on a thread of
// its own, over real groups. What CAF does is left out, so that ThreadSanitizer sees all that is shared.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "plan/run_plan.hpp"
#include "runtime/asker.hpp"

namespace collie::test {

struct ThreadedOutcome {
  RunEnded end;
  std::vector<double> losses, norms;                  // by step
  std::vector<StepMeasures> measures;                 // by step
  std::vector<double> evaluations;                    // losses of data.eval
  std::vector<std::vector<EvaluatedMetric>> results;  // of eval.sets, beside them
  // (name, state) -> elements of the whole tensor.
  using States = std::map<std::pair<std::string, std::string>, std::vector<double>>;
  States states;                        // of the last snapshot
  std::map<int64_t, States> snapshots;  // by step
};

// Asks for programs during a run; its calls come one after another. The first request is sent before any rank
// is ready, and each of the others after the answer to the one before.
class Guest {
 public:
  virtual ~Guest() = default;
  virtual ProgramRequest next(Asker& asker) = 0;
  virtual void take(const ProgramReply& reply) = 0;
};
using Guests = std::map<std::string, Guest*>;  // by name

// Runs `plan` to its end. One thread per rank, a reducer, a loader per replica and a writer; the calling
// thread is the trainer. `with_interrupt` is given what interrupts the run, from any thread.
ThreadedOutcome run_on_threads(
    const RunPlan& plan, const std::function<void(const std::function<void()>&)>& with_interrupt = nullptr,
    const Guests& guests = {});

}  // namespace collie::test
