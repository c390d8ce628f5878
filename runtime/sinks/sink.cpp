#include "runtime/sinks/sink.hpp"

#include <algorithm>
#include <filesystem>

namespace collie {

namespace {

std::vector<SinkKind> wanted_sinks(const Config& config) {
  std::vector<SinkKind> wanted;
  for (const std::string& name : sinks().names())
    if (SinkKind kind = sinks().find(name); kind.wanted(config)) wanted.push_back(std::move(kind));
  return wanted;
}

}  // namespace

void check_sinks(const Config& config) {
  for (const SinkKind& kind : wanted_sinks(config))
    if (kind.check) kind.check(config);
}

void check_start_of_sinks(const Config& config) {
  for (const SinkKind& kind : wanted_sinks(config))
    if (kind.check_start) kind.check_start(config);
}

std::vector<std::string> outputs_of_sinks(const Config& config) {
  std::vector<std::string> outputs;
  for (const SinkKind& kind : wanted_sinks(config))
    if (!kind.output.empty()) outputs.push_back(kind.output);
  return outputs;
}

void cut_back_sinks(const std::string& folder, int64_t step,
                    const std::function<bool(const std::string& output)>& is_of_run) {
  for (const std::string& name : sinks().names()) {
    const SinkKind kind = sinks().find(name);
    if (kind.cut_back && is_of_run(kind.output))
      kind.cut_back((std::filesystem::path(folder) / kind.output).string(), step);
  }
}

std::vector<std::unique_ptr<Sink>> make_sinks(const SinkSettings& settings) {
  std::vector<SinkKind> kinds = wanted_sinks(settings.config);
  std::stable_partition(kinds.begin(), kinds.end(),
                        [](const SinkKind& kind) { return !kind.output.empty(); });
  std::vector<std::unique_ptr<Sink>> made;
  for (const SinkKind& kind : kinds) made.push_back(kind.make(settings));
  return made;
}

}  // namespace collie
