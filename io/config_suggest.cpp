// Which key was meant.
#include <algorithm>
#include <cctype>
#include <set>

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

std::string normalised(std::string name) {
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

// "optim" and "optimizer", "training" and "train": as near as one letter.
bool one_begins_other(const std::string& a, const std::string& b) {
  const size_t size = std::min(a.size(), b.size());
  return size >= 4 && a.size() != b.size() && a.compare(0, size, b, 0, size) == 0;
}

struct Candidate {
  std::string path, name;
};

// Keys, sections and the names that keys have elsewhere.
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
  const std::string section = parent_of(unknown_path), name = normalised(name_of(unknown_path));
  std::string best;
  size_t best_cost = std::string::npos;
  for (const Candidate& candidate : candidates(keys)) {
    const bool same_section = parent_of(candidate.path) == section;
    const size_t distance = one_begins_other(name, candidate.name) ? 1 : edit_distance(name, candidate.name);
    const size_t bound = same_section ? std::max<size_t>(1, name.size() / 3) : name.size() / 4;
    // The right section counts as much as one letter, and half a letter more to settle draws.
    const size_t cost = 2 * distance + (same_section ? 0 : 3);
    if (distance > bound || cost >= best_cost) continue;
    best = candidate.path;
    best_cost = cost;
  }
  if (!best.empty()) return "the nearest valid key is " + best;
  return section.empty() ? "the sections are " + names_in(keys, "")
                         : "the keys of " + section + " are " + names_in(keys, section);
}

}  // namespace collie::config
