// Serves the numbers of the last step, for Prometheus, at monitor.prometheus. It keeps nothing: Prometheus
// does.
#include <fmt/format.h>

#include <map>
#include <mutex>
#include <optional>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/version.hpp"
#include "io/prometheus_text.hpp"
#include "net/listening.hpp"
#include "net/page_server.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

namespace {

constexpr const char *prometheus_key = "monitor.prometheus", *metric_prefix = "collie_";
constexpr int probe_backlog = 1;

// The lines of help. Of another name the page of the documentation says it.
std::string help_of(const std::string& name) {
  static const std::map<std::string, std::string> lines = {
      {"step", "The last step that is done, from 1."},
      {"total_steps", "The steps that the run has."},
      {"run_info", "The run, as labels."},
      {"read_tokens_total", "Targets of all steps since this process started."},
      {"epoch", "The epoch of the step, from 0."},
      {"loss", "The mean loss of a target of the step."},
      {"lr", "The learning rate at its highest, times the schedule's factor."},
      {"grad_norm", "The norm of all gradients of the step, before clipping."},
      {"group_grad_norm", "The same, of each of optimizer.groups and of the rest."},
      {"tokens", "Targets of the step."},
      {"tokens_per_second", "Targets per second."},
      {"step_seconds", "Seconds of the step."},
      {"memory_bytes", "Bytes of tensors that all ranks hold."},
      {"peak_bytes", "The most bytes of tensors of a kind that a rank has held."},
      {"eval_loss", "The mean loss of a target of data.eval, when it was last evaluated."},
      {"eval", "What the sets of eval.sets gave when they were last evaluated."},
      {"mfu", "The share of the devices' peak that the model's operations are."},
      {"model_flops_per_second", "Floating-point operations of the model per second."},
      {"rank_compute_seconds", "Seconds that a rank computed in the step."},
      {"rank_communication_seconds", "Seconds that a rank was blocked in communication in the step."},
      {"rank_peak_bytes", "The most bytes of tensors of a kind that the rank has held."},
      {"slow_ranks", "How many ranks compute longer than they should."},
      {"slow_rank_since_step", "The step since which a rank that is slow has been so."}};
  const auto found = lines.find(name);
  return found != lines.end() ? found->second : "See docs/monitoring.md.";
}

// What an evaluation gave stays until the next one.
bool stays(const std::string& name) {
  return name == "eval_loss" || name.starts_with("eval/");
}

// A name with a slash is the name before it, with the rest as a label.
void add_value(const std::string& name, double value, PrometheusText& page) {
  const size_t slash = name.find('/');
  const std::string front = name.substr(0, slash);
  PrometheusText::Labels labels;
  if (slash != std::string::npos) labels.emplace_back("name", name.substr(slash + 1));
  page.add(metric_prefix + front, PrometheusText::Type::gauge, help_of(front), labels, value);
}

NodeAddress address_of(const Config& config) {
  const std::string place = config.file.place(prometheus_key);
  const NodeAddress address = parse_node_address(config.monitor.prometheus, place);
  if (!is_loopback(address) && !config.monitor.prometheus_open)
    throw UserError(
        "{}: {} can be reached from other machines, which may then read the numbers of the run; 127.0.0.1 "
        "cannot. If they may, say so with monitor.prometheus_open: true",
        place, to_string(address));
  return address;
}

// The numbers of the last event, and of the last evaluation. write() and page() are called by two threads.
class LastNumbers {
 public:
  explicit LastNumbers(const SinkSettings& settings)
      : total_steps_(settings.total_steps), name_(settings.config.run.name), run_(settings.run) {}

  void take(const Event& event) {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, value] : event.values)
      if (const auto number = event.number(name); number && stays(name)) evaluated_[name] = *number;
    if (!event.amended) tokens_ += event.number("tokens").value_or(0);
    last_ = event;
  }

  std::string page() const {
    PrometheusText text;
    const std::lock_guard lock(mutex_);
    text.add(metric_prefix + std::string("run_info"), PrometheusText::Type::gauge, help_of("run_info"),
             {{"name", name_}, {"id", run_}, {"engine", engine_version()}}, 1);
    add_value("total_steps", static_cast<double>(total_steps_), text);
    text.add(metric_prefix + std::string("read_tokens_total"), PrometheusText::Type::counter,
             help_of("read_tokens_total"), {}, tokens_);
    for (const auto& [name, value] : evaluated_) add_value(name, value, text);
    if (!last_) return text.text();
    add_value("step", static_cast<double>(last_->step), text);
    for (const auto& [name, value] : last_->values)
      if (const auto number = last_->number(name); number && !stays(name)) add_value(name, *number, text);
    for (const Event::Part& part : last_->parts)
      text.add(metric_prefix + part.name, PrometheusText::Type::gauge, help_of(part.name), part.labels,
               part.value);
    return text.text();
  }

 private:
  int64_t total_steps_;
  std::string name_, run_;
  mutable std::mutex mutex_;
  std::optional<Event> last_;
  std::map<std::string, double> evaluated_;
  double tokens_ = 0;
};

class PrometheusSink final : public Sink {
 public:
  explicit PrometheusSink(const SinkSettings& settings)
      : numbers_(settings),
        server_(address_of(settings.config), settings.config.file.place(prometheus_key),
                {"/metrics", prometheus_content_type, [this] { return numbers_.page(); }}) {
    log::info("serves http://{}/metrics", to_string(address_of(settings.config)));
  }
  void write(const Event& event) override { numbers_.take(event); }

 private:
  LastNumbers numbers_;
  PageServer server_;  // ends before the numbers that it serves
};

}  // namespace

SinkKind prometheus_sink() {
  SinkKind kind;
  kind.wanted = [](const Config& config) { return !config.monitor.prometheus.empty(); };
  kind.check = [](const Config& config) { address_of(config); };
  kind.check_start = [](const Config& config) {
    listen_at(address_of(config), config.file.place(prometheus_key), probe_backlog);
  };
  kind.make = [](const SinkSettings& settings) { return std::make_unique<PrometheusSink>(settings); };
  return kind;
}

}  // namespace collie
