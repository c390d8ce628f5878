// A whole training run without actors: the cores and workers that the actors are made of, each on a thread of
// its own, over real groups. What CAF does is left out, so that ThreadSanitizer sees all that is shared.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "actors/run_plan.hpp"

namespace collie::test {

struct ThreadedOutcome {
  RunEnded end;
  std::vector<double> losses, norms;  // by step
  std::vector<double> evaluations;
  // Of the last snapshot: (name, state) -> elements of the whole tensor.
  std::map<std::pair<std::string, std::string>, std::vector<double>> states;
};

// Runs `plan` to its end. One thread a rank, a reducer, a loader a replica and a writer; the calling thread
// is the trainer.
ThreadedOutcome run_on_threads(const RunPlan& plan);

}  // namespace collie::test
