// A Config to YAML.
#include "io/config_check.hpp"
#include "io/config_schema.hpp"

namespace collie {

namespace config {

namespace {

// Keys with one indent a level, and the heading of each section before its first key.
class Writer {
 public:
  void write(const Key& key) {
    const std::string name = open_sections(key.path);
    const auto* sources = std::get_if<std::vector<DataSource>*>(&key.target);
    if (sources == nullptr || (*sources)->empty()) {
      line(name + ": " + (sources == nullptr ? key.yaml() : "[]"));
      return;
    }
    line(name + ":");
    for (DataSource& source : **sources) line("  - " + in_one_line(source));
  }

  const std::string& text() const { return text_; }

 private:
  // Writes the headings that are new at `path` and returns its last name.
  std::string open_sections(const std::string& path) {
    std::vector<std::string> sections;
    size_t begin = 0;
    for (size_t dot; (dot = path.find('.', begin)) != std::string::npos; begin = dot + 1)
      sections.push_back(path.substr(begin, dot - begin));
    size_t same = 0;
    while (same < sections.size() && same < open_.size() && sections[same] == open_[same]) ++same;
    open_.resize(same);
    for (; same < sections.size(); ++same) {
      line(sections[same] + ":");
      open_.push_back(sections[same]);
    }
    return path.substr(begin);
  }

  static std::string in_one_line(DataSource& source) {
    std::string text;
    for (const Key& key : source_schema(source, "")) {
      if (key.nullable && key.yaml() == "null") continue;  // columns that are not given
      text += (text.empty() ? "" : ", ") + key.path.substr(1) + ": " + key.yaml();
    }
    return "{" + text + "}";
  }

  void line(const std::string& what) { text_ += std::string(2 * open_.size(), ' ') + what + "\n"; }

  std::string text_;
  std::vector<std::string> open_;
};

}  // namespace

}  // namespace config

std::string to_yaml(const Config& config) {
  Config copy = config;  // the table points to members that it could change
  config::Writer writer;
  for (const config::Key& key : config::schema(copy)) writer.write(key);
  return writer.text();
}

}  // namespace collie
