// The events of a run. Each names the run. Its listeners are the host program that embeds it, the command and
// the monitor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/graph_counts.hpp"
#include "runtime/double_bits.hpp"
#include "runtime/run_tag.hpp"
#include "runtime/step_measures.hpp"

namespace collie {

struct RunStarted {
  RunTag tag;
  std::string name, dir;
  int64_t first_step = 1, total_steps = 0;  // total_steps 0: not a training run
  int64_t parameters = 0;
  int ranks = 1;
};

// The names of the numbers of eval.sets begin with it.
inline constexpr const char* evaluated_metric_prefix = "eval/";

// A number that the evaluation of a set of eval.sets gave.
struct EvaluatedMetric {
  std::string name;  // "eval/SET/METRIC"
  DoubleBits value;  // NaN: the set does not say it
  bool operator==(const EvaluatedMetric& other) const {
    return name == other.name && value.bits == other.value.bits;
  }
};

// Step 0 stands for the evaluation before the first step. It has no numbers but that of the evaluation.
struct StepFinished {
  RunTag tag;
  int64_t step = 0, total_steps = 0, epoch = 0;
  // Mean per token over the step's global batch. It is empty if the batch has no targets; such a step updates
  // no weight.
  std::optional<DoubleBits> loss;
  DoubleBits lr, grad_norm;      // the norm before clipping
  int64_t tokens = 0;            // targets of the global batch
  DoubleBits tokens_per_second;  // over the time since the previous step
  DoubleBits step_s;
  bool evaluated = false;
  bool has_eval_loss = true;               // valid if `evaluated`: whether there is data.eval
  DoubleBits eval_loss;                    // valid if both are true
  uint64_t memory_bytes = 0;               // held by all ranks
  bool amended = false;                    // replaces the record of this step that already exists
  GraphCounts graphs;                      // sum over all ranks since their start, up to the previous step
  std::vector<EvaluatedMetric> metrics{};  // of eval.sets, if `evaluated`
  // It has updated nothing, because a callback wanted that (Remedy::skip).
  bool skipped = false;
  StepMeasures measures{};
};

struct EvaluationFinished {
  RunTag tag;
  int64_t step = 0, tokens = 0;            // tokens of data.eval; 0: there is none
  DoubleBits loss, perplexity;             // of data.eval
  std::vector<EvaluatedMetric> metrics{};  // of eval.sets
};

// The value of "eval_loss", or of "eval/SET/METRIC"; none if the evaluation has no such number.
inline std::optional<double> evaluated_value(const EvaluationFinished& evaluation, const std::string& name) {
  if (name == "eval_loss")
    return evaluation.tokens > 0 ? std::optional<double>(evaluation.loss) : std::nullopt;
  for (const EvaluatedMetric& metric : evaluation.metrics)
    if (metric.name == name) return metric.value;
  return std::nullopt;
}

struct CheckpointSaved {
  RunTag tag;
  int64_t step = 0;
  std::string path;
};

struct TokenGenerated {
  RunTag tag;
  int32_t token = 0;
};

enum class RunStatus : uint8_t {
  completed,    // all steps, the evaluation or the generation have run
  stopped,      // ended early by the host or a callback; checkpoint and final model are written
  interrupted,  // ended early by the user (Ctrl-C); the checkpoint is written
  failed,
};

// This is the last event; every other actor of the run has ended.
struct RunEnded {
  RunTag tag;
  RunStatus status = RunStatus::completed;
  int exit_code = 0;         // 0, 1 failed, 2 wrong input, 130 interrupted
  int64_t step = 0;          // the last step computed
  std::string message;       // if the run failed: who failed and why
  std::string summary;       // memory and time per rank, for people; several lines
  bool actors_left = false;  // some actors did not end in time; the process should not wait for them
};

// request_stop() (actors/engine.hpp) sends this to the run. `by` names the requester if that was another
// process.
struct StopRequest {
  RunStatus why = RunStatus::stopped;
  std::string by;
};

// request_checkpoint() sends this to the run. `by` is as above.
struct SaveRequest {
  std::string by;
};

template <class Inspector>
auto inspect(Inspector& f, RunTag& x) {
  return f(x.run, x.generation);
}
template <class Inspector>
auto inspect(Inspector& f, StopRequest& x) {
  return f(x.why, x.by);
}
template <class Inspector>
auto inspect(Inspector& f, SaveRequest& x) {
  return f(x.by);
}
template <class Inspector>
auto inspect(Inspector& f, RunStarted& x) {
  return f(x.tag, x.name, x.dir, x.first_step, x.total_steps, x.parameters, x.ranks);
}
template <class Inspector>
auto inspect(Inspector& f, GraphCounts& x) {
  return f(x.launched, x.made, x.updated);
}
template <class Inspector>
auto inspect(Inspector& f, EvaluatedMetric& x) {
  return f(x.name, x.value);
}
template <class Inspector>
auto inspect(Inspector& f, StepFinished& x) {
  return f(x.tag, x.step, x.total_steps, x.epoch, x.loss, x.lr, x.grad_norm, x.tokens, x.tokens_per_second,
           x.step_s, x.evaluated, x.has_eval_loss, x.eval_loss, x.memory_bytes, x.amended, x.graphs,
           x.metrics, x.skipped, x.measures);
}
template <class Inspector>
auto inspect(Inspector& f, EvaluationFinished& x) {
  return f(x.tag, x.step, x.tokens, x.loss, x.perplexity, x.metrics);
}
template <class Inspector>
auto inspect(Inspector& f, CheckpointSaved& x) {
  return f(x.tag, x.step, x.path);
}
template <class Inspector>
auto inspect(Inspector& f, TokenGenerated& x) {
  return f(x.tag, x.token);
}
template <class Inspector>
auto inspect(Inspector& f, RunEnded& x) {
  return f(x.tag, x.status, x.exit_code, x.step, x.message, x.summary, x.actors_left);
}

}  // namespace collie
