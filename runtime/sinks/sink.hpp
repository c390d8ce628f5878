// Sinks show or keep the events of a training run: metrics.jsonl, the console and others. A sink is one
// class, found by its name in the registry. Host programs register their own before they start a run.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/registry.hpp"
#include "io/config.hpp"
#include "runtime/sinks/event.hpp"

namespace collie {

class Sink {
 public:
  virtual ~Sink() = default;
  // Called in the order of the steps, always on one thread. The event is where the sink keeps it when this
  // returns: the run may then write a checkpoint of the step. An exception ends the run as failed, so a
  // RunError must name the file.
  virtual void write(const Event& event) = 0;
};

// What a sink is told of its run.
struct SinkSettings {
  const Config& config;
  std::string folder;      // run.dir, which exists
  std::string run;         // the run's id, for markers of folders (io/run_marker.hpp)
  int64_t done_steps = 0;  // of the checkpoint that the run resumes; the first event has a later step, or is
                           // an amended one of this step
  int64_t total_steps = 0;
};

struct SinkKind {
  std::function<std::unique_ptr<Sink>(const SinkSettings&)> make;
  // The file that the sink writes directly in the run's folder, or the folder if the name ends with '/'. It
  // is then the run's: a run does not start where somebody else has one of this name. Empty: nothing there.
  std::string output = {};
  // For a resume, before the run starts: drops the events of later steps from `path`, which is the output. It
  // may not exist. Empty: the sink itself makes readers drop them. Throws RunError or UserError.
  std::function<void(const std::string& path, int64_t step)> cut_back = {};
  // Throws UserError if the sink cannot do what the configuration says. Called when a run is planned.
  std::function<void(const Config&)> check = {};
  // Throws UserError if the sink could not be made now. Called when the run starts, while nothing has been
  // loaded or written.
  std::function<void(const Config&)> check_start = {};
  // Whether the run has the sink.
  std::function<bool(const Config&)> wanted = [](const Config&) { return true; };
};

Registry<SinkKind>& sinks();

// Calls SinkKind::check, or SinkKind::check_start, of the sinks that the configuration wants.
void check_sinks(const Config& config);
void check_start_of_sinks(const Config& config);

// The outputs of the sinks that the configuration wants.
std::vector<std::string> outputs_of_sinks(const Config& config);

// Cuts back the outputs in `folder` to those of steps up to `step`, whether the run still has the sink or
// not. Only outputs for which `is_of_run` is true are touched.
void cut_back_sinks(const std::string& folder, int64_t step,
                    const std::function<bool(const std::string& output)>& is_of_run);

// Makes the sinks that the configuration wants. Those that keep events come before those that only show them,
// so that nothing is shown that is not kept. Throws RunError, which names the file that cannot be written.
std::vector<std::unique_ptr<Sink>> make_sinks(const SinkSettings& settings);

}  // namespace collie
