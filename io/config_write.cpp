// Writes a Config as YAML, and the keys of all configurations for people.
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "io/callback_options.hpp"
#include "io/config_check.hpp"
#include "io/config_comments.hpp"
#include "io/config_schema.hpp"
#include "io/json_text.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"

namespace collie {

namespace config {

namespace {

// Lines with one indent per level, and the heading of each section before its first key.
class Sections {
 public:
  const std::string& text() const { return text_; }

 protected:
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
  void line(const std::string& what) { text_ += std::string(2 * open_.size(), ' ') + what + "\n"; }

 private:
  std::string text_;
  std::vector<std::string> open_;
};

// A source as a mapping on one line; with `short_form` without keys that are as they would be anyway.
std::string in_one_line(DataSource& source, bool short_form = false) {
  DataSource others;
  const std::vector<Key> defaults = source_schema(others, "");
  std::string text;
  for (const Key& key : source_schema(source, "")) {
    if (key.nullable && key.yaml() == "null") continue;  // columns that are not given
    const bool needed = key.path == ".path" || key.path == ".format";
    if (short_form && !needed && key.yaml() == find_key(defaults, key.path)->yaml()) continue;
    text += (text.empty() ? "" : ", ") + key.path.substr(1) + ": " + key.yaml();
  }
  return "{" + text + "}";
}

// A set: the keys that are not as they are at first.
std::string in_one_line(EvalSet& set) {
  EvalSet initial;
  const std::vector<Key> keys = set_schema(set, ""), of_initial = set_schema(initial, "");
  std::string text;
  for (size_t i = 0; i < keys.size(); ++i)
    if (const std::string value = keys[i].yaml(); value != of_initial[i].yaml())
      text += (text.empty() ? "" : ", ") + keys[i].path.substr(1) + ": " + value;
  return "{" + text + "}";
}

class Writer : public Sections {
 public:
  void write(const Key& key) {
    const std::string name = open_sections(key.path);
    if (const auto* sets = std::get_if<std::vector<EvalSet>*>(&key.target); sets && !(*sets)->empty()) {
      line(name + ":");
      for (EvalSet& set : **sets) line("  - " + in_one_line(set));
      return;
    }
    const auto* sources = std::get_if<std::vector<DataSource>*>(&key.target);
    if (sources == nullptr || (*sources)->empty()) {
      line(name + ": " + (sources == nullptr ? key.yaml() : "[]"));
      return;
    }
    line(name + ":");
    for (DataSource& source : **sources) line("  - " + in_one_line(source));
  }
};

// The valid values of a key, if its default does not show them.
std::string values_of(const Key& key, const std::map<std::string, std::vector<std::string>>& names) {
  if (const auto found = names.find(key.path); found != names.end())
    return fmt::format("one of {}", fmt::join(found->second, ", "));
  if (std::holds_alternative<bool*>(key.target) || std::holds_alternative<nlohmann::json*>(key.target) ||
      std::holds_alternative<PatternNumbers*>(key.target) ||
      std::holds_alternative<GroupsTarget>(key.target) || std::holds_alternative<CallbacksTarget>(key.target))
    return "";
  if (const auto* option = std::get_if<OptionTarget>(&key.target);
      option != nullptr && std::holds_alternative<bool>(option->option.initial))
    return "";
  if (std::holds_alternative<std::string*>(key.target) && key.valid.empty()) return "";
  if (std::holds_alternative<std::vector<DataSource>*>(key.target) ||
      std::holds_alternative<std::vector<EvalSet>*>(key.target) ||
      std::holds_alternative<std::vector<std::string>*>(key.target))
    return "";
  std::string wanted = key.wanted();
  if (wanted.ends_with(",")) wanted.pop_back();
  return wanted;
}

// Writes "name: default    # what it means; what it may be", in lines of at most 115 characters.
class Describer : public Sections {
 public:
  // `stars` marks the keys of fingerprint().
  explicit Describer(const std::map<std::string, std::vector<std::string>>& names, bool stars = true)
      : names_(names), stars_(stars) {}

  // `before` stands before the key on its lines.
  void describe(const Key& key, const std::string& before = "") {
    const std::string name = before + open_sections(key.path);
    const bool later = key.only_value.has_value() || !key.warning_if_true.empty();
    std::string about = key.in_fingerprint && stars_ ? "* " : "";
    about += key.description;
    const std::string values = key.only_value ? "" : values_of(key, names_);
    for (const std::string& more : {values, std::string(later ? "not supported yet" : "")})
      if (!more.empty()) about += (about.empty() || about.ends_with("* ") ? "" : "; ") + more;
    std::string start = name + ":" + value_of(key);
    if (start.size() >= column_ - 2) line(std::exchange(start, ""));  // a long name has a line of its own
    for (const std::string& part : wrapped(about)) {
      line(fmt::format("{:<{}}# {}", start, column_ - 2, part));
      start.clear();
    }
    if (const auto* sources = std::get_if<std::vector<DataSource>*>(&key.target))
      for (DataSource& source : **sources) line("  - " + in_one_line(source, true));
  }

  // The options of a section's other pieces, as comments.
  template <class Declaration>
  void describe_others(const Registry<Declaration>& declarations, const std::string& section,
                       const std::string& described) {
    OptionValues none;
    for (const std::string& name : declarations.names()) {
      if (name == described) continue;
      line(fmt::format("# with name: {}", name));
      const Declaration declared = declarations.find(name);
      for (const Key& key : option_schema(declared.options, none, section)) describe(key, "#   ");
      if constexpr (std::is_same_v<Declaration, OptimizerDeclaration>) describe_defaults(declared.keys);
    }
  }

  // The options of all callbacks, as comments.
  void describe_callbacks() {
    for (const std::string& name : callback_declarations().names()) {
      line(fmt::format("#   with name: {}", name));
      OptionValues none;
      for (const Key& key : option_schema(callback_declarations().find(name).options, none, "callbacks")) {
        Key plain = key;  // what a run computes does not depend on who watches it
        plain.in_fingerprint = false;
        plain.path = key.path.substr(key.path.find('.') + 1);
        describe(plain, "#     ");
      }
    }
  }

  // What an optimizer makes of other keys.
  void describe_defaults(const KeyDefaults& keys) {
    describe_default("master", keys.master, "unless it is given");
    describe_default("rounding", keys.rounding,
                     "unless it is given, with model.dtype bfloat16 and without master");
    describe_default("fused_update", keys.fused_update, "unless it is given");
    describe_default("lr_scheduler.name", keys.scheduler, "unless it is given");
  }

 private:
  static constexpr size_t column_ = 34, width_ = 115 - column_ - 2;

  template <class Value>
  void describe_default(const std::string& key, const std::optional<Value>& value, const std::string& when) {
    if (value) line(fmt::format("{:<{}}# {}", fmt::format("#   {}: {}", key, *value), column_ - 2, when));
  }

  // Behind the colon. Sources have lines of their own.
  static std::string value_of(const Key& key) {
    const auto* sources = std::get_if<std::vector<DataSource>*>(&key.target);
    if (sources != nullptr) return (*sources)->empty() ? " []" : "";
    return " " + key.yaml();
  }

  static std::vector<std::string> wrapped(const std::string& text) {
    std::vector<std::string> lines(1);
    std::istringstream words(text);
    for (std::string word; words >> word;) {
      if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width_) lines.emplace_back();
      lines.back() += (lines.back().empty() ? "" : " ") + word;
    }
    return lines;
  }

  const std::map<std::string, std::vector<std::string>>& names_;
  bool stars_;
};

// Where fingerprint() has a key.
nlohmann::json::json_pointer pointer_to(std::string path) {
  std::replace(path.begin(), path.end(), '.', '/');
  return nlohmann::json::json_pointer("/" + path);
}

// Adds the options that a recorded group's optimizer has got since. `groups`: as Key::json() has them.
void complete_groups(nlohmann::json& groups) {
  if (!groups.is_string()) return;
  nlohmann::json all = parse_json(groups.get<std::string>(), "optimizer.groups of an earlier version");
  for (nlohmann::json& group : all) {
    const auto rule = group.at("name").get<std::string>();
    if (!optimizer_declarations().contains(rule)) continue;
    for (const Option& option : optimizer_declarations().find(rule).options)
      if (!group.contains(option.name) && !option.nullable())
        std::visit([&](const auto& value) { group[option.name] = value; }, option.initial);
  }
  groups = all.dump();
}

}  // namespace

}  // namespace config

std::string value_of_key(const Config& config, const std::string& key) {
  Config copy = config;  // the table holds pointers to members that could be changed through it
  const std::vector<config::Key> keys = config::schema(copy);
  const config::Key* const found = config::find_key(keys, key);
  return found == nullptr ? "" : found->yaml();
}

nlohmann::json fingerprint(const Config& values_in_force) {
  Config copy = values_in_force;  // the table holds pointers to members that could be changed through it
  nlohmann::json values = nlohmann::json::object();
  for (const config::Key& key : config::schema(copy))
    if (key.in_fingerprint) values[config::pointer_to(key.path)] = key.json();
  if (copy.optimizer.ema_decay > 0) values["callbacks"]["ema"]["decay"] = copy.optimizer.ema_decay;
  return values;
}

nlohmann::json complete_fingerprint(nlohmann::json recorded) {
  Config config;
  // A host program's piece may be unknown here. Then nothing is known of its options.
  const auto knows = [&](const auto& declarations, const std::string& section, std::string& name) {
    const std::string found = recorded.value(config::pointer_to(section + ".name"), name);
    if (declarations.contains(found)) name = found;
    return name == found;
  };
  const std::map<std::string, bool> known{
      {"optimizer", knows(optimizer_declarations(), "optimizer", config.optimizer.name)},
      {"lr_scheduler", knows(learning_rate_declarations(), "lr_scheduler", config.lr_scheduler.name)}};
  for (const config::Key& key : config::schema(config)) {
    const auto pointer = config::pointer_to(key.path);
    if (!key.in_fingerprint || recorded.contains(pointer)) continue;
    const bool is_option = std::holds_alternative<config::OptionTarget>(key.target);
    if (is_option && !known.at(key.path.substr(0, key.path.find('.')))) continue;
    recorded[pointer] = key.in_older_runs ? *key.in_older_runs : key.json();
  }
  config::complete_groups(recorded.at("optimizer").at("groups"));
  return recorded;
}

std::string describe_keys(const std::map<std::string, std::vector<std::string>>& names) {
  Config defaults;
  config::Describer describer(names);
  const std::vector<config::Key> keys = config::schema(defaults);
  const auto section_of = [&](size_t i) { return keys[i].path.substr(0, keys[i].path.find('.')); };
  for (size_t i = 0; i < keys.size(); ++i) {
    describer.describe(keys[i]);
    const std::string section = section_of(i);
    if (section == "callbacks") describer.describe_callbacks();
    if (i + 1 < keys.size() && section_of(i + 1) == section) continue;
    if (section == "optimizer")
      describer.describe_others(optimizer_declarations(), section, defaults.optimizer.name);
    if (section == "lr_scheduler")
      describer.describe_others(learning_rate_declarations(), section, defaults.lr_scheduler.name);
  }
  return describer.text();
}

std::string commented_yaml(const Config& config, const std::vector<std::string>& wanted,
                           const std::map<std::string, std::vector<std::string>>& names) {
  Config copy = config;  // the table holds pointers to members that could be changed through it
  config::Describer describer(names, false);
  for (const config::Key& key : config::schema(copy))
    if (std::find(wanted.begin(), wanted.end(), key.path) != wanted.end()) describer.describe(key);
  return describer.text();
}

std::string to_yaml(const Config& config) {
  Config copy = config;  // the table holds pointers to members that could be changed through it
  config::Writer writer;
  for (const config::Key& key : config::schema(copy)) writer.write(key);
  return writer.text();
}

}  // namespace collie
