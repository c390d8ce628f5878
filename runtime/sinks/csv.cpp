// metrics.csv: a row for each step and a column for each name. A value that a step does not have is empty.
#include <cmath>
#include <filesystem>

#include "io/csv_file.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

namespace {

constexpr const char* csv_name = "metrics.csv";
constexpr const char* step_column = "step";

// Numbers have the digits of metrics.jsonl.
std::string text_of(const EventValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (std::holds_alternative<std::nullptr_t>(value)) return "";
  if (const auto* number = std::get_if<double>(&value); number != nullptr && !std::isfinite(*number))
    return std::isnan(*number) ? "nan" : *number > 0 ? "inf" : "-inf";
  return json_of(value).dump();
}

class CsvSink final : public Sink {
 public:
  explicit CsvSink(const std::string& path) : path_(path), file_(std::make_unique<CsvFile>(path)) {}

  void write(const Event& event) override {
    if (event.amended) {
      file_.reset();
      cut_csv(path_, step_column, event.step - 1);
      file_ = std::make_unique<CsvFile>(path_);
    }
    CsvFile::Row row = {{step_column, std::to_string(event.step)}};
    for (const auto& [name, value] : event.values) row.emplace_back(name, text_of(value));
    file_->append(row);
  }

 private:
  std::string path_;
  std::unique_ptr<CsvFile> file_;
};

}  // namespace

SinkKind csv_sink() {
  SinkKind kind;
  kind.output = csv_name;
  kind.cut_back = [](const std::string& path, int64_t step) { cut_csv(path, step_column, step); };
  kind.wanted = [](const Config& config) { return config.monitor.csv; };
  kind.make = [](const SinkSettings& settings) {
    return std::make_unique<CsvSink>((std::filesystem::path(settings.folder) / csv_name).string());
  };
  return kind;
}

}  // namespace collie
