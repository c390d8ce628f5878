// The schema of the configuration: one table names every key once, with its member (whose initial value is
// the default), its type and what it may hold. Reading, checking, writing and suggesting all walk it. A
// feature that arrives changes one line here. Below io/config.hpp only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/config.hpp"

namespace collie::config {

// A rule by name, or a list of layers per stage.
struct PartitionTarget {
  std::string* name;
  std::vector<int>* list;
};

// The member that a key fills; its type is the key's type.
using Target = std::variant<std::string*, bool*, int*, int64_t*, uint64_t*, double*, std::optional<int64_t>*,
                            std::vector<double>*, std::vector<std::string>*, nlohmann::json*,
                            std::vector<DataSource>*, PartitionTarget>;

// A text of more bytes is no path and no name.
constexpr size_t longest_config_text = 4096;

struct Range {
  std::optional<double> least, most;
  bool least_excluded = false, most_excluded = false;
  bool holds(double number) const;
  std::string words() const;  // " of at least 0", " from 0 to 1", ""
};

struct Key {
  Key(std::string key_path, Target key_target) : path(std::move(key_path)), target(key_target) {}

  std::string path;  // "optimizer.lr"
  Target target;
  Range range;                           // of a number, or of every number of a list
  std::vector<std::string> valid;        // texts that may stand here; empty: any
  std::vector<std::string> valid_later;  // texts of the schema that the engine does not have yet
  std::string valid_ending;              // texts that end so may stand here too
  std::optional<std::string>
      only_value;         // of all valid values, the one that the engine has, as to_yaml prints it
  bool nullable = false;  // a text: null and "" say that it is not given
  std::string warning_if_true;
  std::vector<std::string> aliases;  // what other programs call it; for suggestions alone

  // For the table.
  Key at_least(double number) const;
  Key above(double number) const;
  Key at_most(double number) const;
  Key from_to(double least, double most) const;
  Key from_to_below(double least, double most) const;
  Key one_of(std::vector<std::string> texts) const;
  Key not_yet(std::vector<std::string> texts) const;
  Key or_ending(std::string ending) const;
  Key only(std::string value) const;
  Key or_null() const;
  Key warn_if_true(std::string warning) const;
  Key also_known_as(std::vector<std::string> names) const;

  // What would be right here, for messages: "a whole number of at least 1".
  std::string wanted() const;
  // The value in force: as YAML on one line. (Data sources are written by their own keys.)
  std::string yaml() const;
  // UserError "PLACE: found ...; ... is wanted" where the value is not valid, or not supported yet.
  void check(const std::string& place) const;
};

// Every key, in the order of the sections. The table points into `config`.
std::vector<Key> schema(Config& config);

// The keys of one data source, under `path` ("data.train.0").
std::vector<Key> source_schema(DataSource& source, const std::string& path);

// What to say about a key that is not in `keys`: "the nearest valid key is optimizer.lr", or the keys of its
// section.
std::string suggestion(const std::vector<Key>& keys, const std::string& unknown_path);

// Whether `path` is a section: the beginning of other keys.
bool is_section(const std::vector<Key>& keys, const std::string& path);

const Key* find_key(const std::vector<Key>& keys, const std::string& path);

// The names right below `section`, in the table's order: "name, lr, betas".
std::string names_in(const std::vector<Key>& keys, const std::string& section);

}  // namespace collie::config
