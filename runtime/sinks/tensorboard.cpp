// tensorboard/: event files for TensorBoard, one each time that the run is started or resumed. A resume
// leaves the earlier files as they are. Its own file tells readers to drop the steps that it does again.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>

#include "io/appended_file.hpp"
#include "io/run_files.hpp"
#include "io/tensorboard_records.hpp"
#include "io/utf8.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

namespace {

namespace fs = std::filesystem;

constexpr const char* folder_name = "tensorboard/";
constexpr std::string_view file_prefix = "events.out.tfevents.";

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The time, of ten digits, in the name of an event file; 0 for any other name.
int64_t time_in(const std::string& name) {
  if (!name.starts_with(file_prefix)) return 0;
  int64_t time = 0;
  std::from_chars(name.data() + file_prefix.size(), name.data() + name.size(), time);
  return time < 9'999'999'999 ? time : 0;
}

// Readers take the files in the order of their names. So a file's time is later than that of every other one,
// although the clock may have been set back or two files may be made in one second.
std::string new_file_name(const fs::path& folder) {
  int64_t time = static_cast<int64_t>(now_s());
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    time = std::max(time, time_in(it->path().filename().string()) + 1);
  char host[65] = {};
  if (::gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') host[0] = 'x';
  std::replace(host, host + sizeof host, '/', '-');
  return fmt::format("{}{:010}.{}.{}", file_prefix, time, host, ::getpid());
}

// TensorBoard groups charts by the part of a tag before its first slash. A name with a slash is a tag
// already. Any other is of training, unless it begins with "eval_".
std::string tag_of(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  constexpr std::string_view of_evaluation = "eval_";
  return name.starts_with(of_evaluation) ? "eval/" + name.substr(of_evaluation.size()) : "train/" + name;
}

std::vector<tensorboard::TaggedValue> tagged(const Event& event) {
  std::vector<tensorboard::TaggedValue> all;
  for (const auto& [name, value] : event.values) {
    const std::string tag = replace_invalid_utf8(tag_of(name));
    if (const auto number = event.number(name))
      all.emplace_back(tag, static_cast<float>(*number));
    else if (const auto* text = std::get_if<std::string>(&value))
      all.emplace_back(tag, replace_invalid_utf8(*text));
  }
  return all;
}

class TensorBoardSink final : public Sink {
 public:
  explicit TensorBoardSink(const SinkSettings& settings) : file_(new_file(settings)) {
    // Readers take a start for a restart only if they have seen one before, so the first file has one, too.
    file_.append(tensorboard::version_record(now_s()) +
                 tensorboard::session_start_record(now_s(), settings.done_steps + 1));
  }

  void write(const Event& event) override {
    std::string records;
    // Readers drop the event that is amended.
    if (event.amended) records = tensorboard::session_start_record(now_s(), event.step);
    file_.append(records + tensorboard::summary_record(now_s(), event.step, tagged(event)));
  }

 private:
  static std::string new_file(const SinkSettings& settings) {
    const fs::path folder = fs::path(settings.folder) / fs::path(folder_name).parent_path();
    const std::string name = new_file_name(folder);
    claim_file(folder.string(), settings.run, name);
    return (folder / name).string();
  }

  AppendedFile file_;
};

}  // namespace

SinkKind tensorboard_sink() {
  SinkKind kind;
  kind.output = folder_name;
  kind.wanted = [](const Config& config) { return config.monitor.tensorboard; };
  kind.make = [](const SinkSettings& settings) { return std::make_unique<TensorBoardSink>(settings); };
  return kind;
}

}  // namespace collie
