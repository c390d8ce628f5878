#include "runtime/sinks/sink.hpp"

namespace collie {

// Each is in the file of its name.
SinkKind console_sink();
SinkKind csv_sink();
SinkKind metrics_sink();
SinkKind prometheus_sink();
SinkKind tensorboard_sink();

Registry<SinkKind>& sinks() {
  static Registry<SinkKind>& registry = []() -> Registry<SinkKind>& {
    static Registry<SinkKind> all("sink", "monitor");
    all.add("console", console_sink());
    all.add("csv", csv_sink());
    all.add("metrics", metrics_sink());
    all.add("prometheus", prometheus_sink());
    all.add("tensorboard", tensorboard_sink());
    return all;
  }();
  return registry;
}

}  // namespace collie
