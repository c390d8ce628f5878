// metrics.jsonl: a line for each step. A resume reads it, so every run has this sink.
#include <filesystem>

#include "io/json_lines.hpp"
#include "io/run_folder.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

namespace {

class MetricsSink final : public Sink {
 public:
  explicit MetricsSink(const std::string& path) : file_(path) {}

  void write(const Event& event) override {
    if (event.amended)
      file_.amend(event.step, json_of(event));
    else
      file_.append(json_of(event));
  }

 private:
  JsonLinesFile file_;
};

}  // namespace

SinkKind metrics_sink() {
  SinkKind kind;
  kind.output = metrics_name;
  kind.cut_back = truncate_after_step;
  kind.make = [](const SinkSettings& settings) {
    return std::make_unique<MetricsSink>((std::filesystem::path(settings.folder) / metrics_name).string());
  };
  return kind;
}

}  // namespace collie
