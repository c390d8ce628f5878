// metrics.csv: a row for each step and a column for each name. A value that a step does not have is empty.
#include <cmath>
#include <filesystem>

#include "io/csv_file.hpp"
#include "io/utf8.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

namespace {

constexpr const char* csv_name = "metrics.csv";
constexpr const char* step_column = "step";

// Numbers have the digits of metrics.jsonl. Readers of CSV refuse a file that is not UTF-8.
std::string text_of(const EventValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return replace_invalid_utf8(*text);
  if (std::holds_alternative<std::nullptr_t>(value)) return "";
  if (const auto* number = std::get_if<double>(&value); number != nullptr && !std::isfinite(*number))
    return std::isnan(*number) ? "nan" : *number > 0 ? "inf" : "-inf";
  return json_of(value).dump();
}

class CsvSink final : public Sink {
 public:
  explicit CsvSink(const std::string& path) : file_(path) {}

  void write(const Event& event) override {
    CsvFile::Row row = {{step_column, std::to_string(event.step)}};
    for (const auto& [name, value] : event.values)
      row.emplace_back(replace_invalid_utf8(name), text_of(value));
    if (event.amended)
      file_.amend(row, step_column, event.step);
    else
      file_.append(row);
  }

 private:
  CsvFile file_;
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
