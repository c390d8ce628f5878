// Finds the key that was meant.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/nearest_name.hpp"
#include "io/config_schema.hpp"

namespace collie::config {

namespace {

std::string parent_of(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? "" : path.substr(0, dot);
}

std::string name_of(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos ? path : path.substr(dot + 1);
}

struct Candidate {
  std::string path, name;
};

// Returns keys, sections and the names that keys have in other programs.
std::vector<Candidate> candidates(const std::vector<Key>& keys) {
  std::vector<Candidate> all;
  std::set<std::string> sections;
  for (const Key& key : keys) {
    for (std::string section = parent_of(key.path); !section.empty(); section = parent_of(section))
      if (sections.insert(section).second) all.push_back({section, name_of(section)});
    all.push_back({key.path, name_of(key.path)});
    for (const std::string& alias : key.aliases) all.push_back({key.path, alias});
  }
  return all;
}

// Services that other programs send their numbers to. The engine sends nothing to a service; it keeps what
// such services read. Returns "" for any other name.
std::string foreign_sink(const std::string& name) {
  struct Service {
    const char *key, *words;
  };
  constexpr const char* jsonl = "; its own client can log each line of metrics.jsonl";
  constexpr Service services[] = {
      {"wandb",
       "Weights & Biases is no sink of the engine; `wandb sync` reads the event files that "
       "monitor.tensorboard writes"},
      {"mlflow", "MLflow is no sink of the engine"},
      {"comet", "Comet is no sink of the engine"},
      {"comet_ml", "Comet is no sink of the engine"},
      {"neptune", "Neptune is no sink of the engine"},
      {"clearml", "ClearML is no sink of the engine"},
      {"swanlab", "SwanLab is no sink of the engine"},
      {"trackio", "Trackio is no sink of the engine"},
      {"report_to", "each sink has a key of its own"}};
  for (const Service& service : services) {
    if (name != service.key && name != std::string("use_") + service.key) continue;
    const bool reads_lines = name != "report_to" && name != "wandb" && name != "use_wandb";
    return fmt::format(
        "{}{}; the sinks are monitor.tensorboard, monitor.csv, monitor.prometheus and "
        "metrics.jsonl",
        service.words, reads_lines ? jsonl : "");
  }
  return "";
}

}  // namespace

bool is_section(const std::vector<Key>& keys, const std::string& path) {
  const std::string beginning = path + ".";
  return std::any_of(keys.begin(), keys.end(),
                     [&](const Key& key) { return key.path.rfind(beginning, 0) == 0; });
}

const Key* find_key(const std::vector<Key>& keys, const std::string& path) {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.path == path; });
  return found == keys.end() ? nullptr : &*found;
}

std::string names_in(const std::vector<Key>& keys, const std::string& section) {
  const std::string beginning = section.empty() ? "" : section + ".";
  std::string names, last;
  for (const Key& key : keys) {
    if (key.path.rfind(beginning, 0) != 0) continue;
    const std::string rest = key.path.substr(beginning.size());
    const std::string name = rest.substr(0, rest.find('.'));
    if (name != last) names += (names.empty() ? "" : ", ") + name;
    last = name;
  }
  return names;
}

std::string suggestion(const std::vector<Key>& keys, const std::string& unknown_path) {
  const std::string section = parent_of(unknown_path), name = name_of(unknown_path);
  if (const std::string words = foreign_sink(name); !words.empty()) return words;
  std::string best;
  size_t best_cost = std::string::npos;
  for (const Candidate& candidate : candidates(keys)) {
    const bool same_section = parent_of(candidate.path) == section;
    const auto distance = name_distance(name, candidate.name);
    if (!distance) continue;
    // Short names of other sections are alike by chance: beta1 is no betas.
    const size_t bound = same_section ? std::max<size_t>(1, name.size() / 3) : name.size() / 6;
    // The right section counts as much as one letter, and half a letter more to settle draws.
    const size_t cost = 2 * *distance + (same_section ? 0 : 3);
    if (*distance > bound || cost >= best_cost) continue;
    best = candidate.path;
    best_cost = cost;
  }
  if (!best.empty()) return "the nearest valid key is " + best;
  return section.empty() ? "the sections are " + names_in(keys, "")
                         : "the keys of " + section + " are " + names_in(keys, section);
}

}  // namespace collie::config
