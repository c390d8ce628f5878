// The schema of the configuration: one table names every key once, with its member (whose initial value is
// the default), its type and its valid values. Reading, checking, writing and suggesting all walk this table.
// A new feature changes one line here. For the implementation of io/config.hpp only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "io/config.hpp"

namespace collie::config {

// A partition rule by name, or a list of layers per stage.
struct PartitionTarget {
  std::string* name;
  std::vector<int>* list;
};

// An option that a piece declares: a place among the values that are given, and its declaration.
struct OptionTarget {
  OptionValues* values;
  Option option;
  const OptionValue* value() const { return value_in_force(option, *values); }
};

// optimizer.groups
struct GroupsTarget {
  OptimizerConfig* optimizer;
};

// callbacks
struct CallbacksTarget {
  std::vector<CallbackConfig>* callbacks;
};

// The member that a key fills. Its type is the key's type.
using Target = std::variant<std::string*, bool*, int*, int64_t*, uint64_t*, double*, std::optional<int64_t>*,
                            std::vector<double>*, std::vector<std::string>*, nlohmann::json*,
                            std::vector<DataSource>*, std::vector<EvalSet>*, std::vector<MetricConfig>*,
                            PatternNumbers*, PartitionTarget, OptionTarget, GroupsTarget, CallbacksTarget>;

// A text with more bytes is neither a path nor a name.
constexpr size_t longest_config_text = 4096;

struct Key {
  Key(std::string key_path, Target key_target) : path(std::move(key_path)), target(key_target) {}

  std::string path;  // "optimizer.lr"
  Target target;
  NumberRange range;                      // of a number, or of every number of a list
  std::vector<std::string> valid;         // texts that are valid; empty: any
  std::vector<std::string> valid_later;   // texts of the schema that the engine does not have yet
  std::optional<std::string> only_value;  // the only valid value that the engine has, as to_yaml prints it
  bool takes_integers = false;            // for a text: a whole number is the text of its digits
  bool nullable = false;                  // for a text: null and "" mean that it is not given
  std::string in_place_of_list;           // the text that a list of texts may be instead, as its only item
  std::string warning_if_true;
  std::string description;      // for the page of the keys; empty: not there yet
  bool in_fingerprint = false;  // changes what is computed: a resumed run must have the same
  // In a run of a version that did not know the key, where that was not what the key's default is.
  std::optional<nlohmann::json> in_older_runs;
  std::vector<std::string> aliases;  // names in other programs; for suggestions only

  // These build the table.
  Key at_least(double number) const;
  Key above(double number) const;
  Key at_most(double number) const;
  Key from_to(double least, double most) const;
  Key from_to_below(double least, double most) const;
  Key one_of(std::vector<std::string> texts) const;
  Key not_yet(std::vector<std::string> texts) const;
  Key only(std::string value) const;
  Key or_integer() const;
  Key or_null() const;
  Key alone(std::string text) const;  // in_place_of_list
  Key warn_if_true(std::string warning) const;
  Key doc(std::string line) const;
  Key fingerprinted() const;
  Key formerly(nlohmann::json value) const;  // in_older_runs
  Key also_known_as(std::vector<std::string> names) const;

  // Describes the right values, for messages: "a whole number of at least 1".
  std::string wanted() const;
  // The value in force.
  nlohmann::json json() const;
  // The same as YAML on one line. (Data sources are written by their own keys.)
  std::string yaml() const;
  // Throws UserError "PLACE: found ...; ... is wanted" if the value is not valid or not supported yet.
  void check(const std::string& place) const;
};

// Returns every key, in the order of the sections. The table points into `config`. The sections optimizer and
// lr_scheduler have the options of the config's optimizer and schedule; throws UserError if there is none of
// that name.
std::vector<Key> schema(Config& config);

// The keys of options, under `section`. The table points into `values`.
std::vector<Key> option_schema(const std::vector<Option>& options, OptionValues& values,
                               const std::string& section);

// The keys of a group of parameters, under `path` ("optimizer.groups.0"). Throws UserError as schema() does;
// `place` is where the group's name was given.
std::vector<Key> group_schema(const OptimizerConfig& optimizer, OptimizerGroup& group,
                              const std::string& path, const std::string& place = "");

// The keys of a callback, under `path` ("callbacks.0"): its name and its options. Of a callback that is not
// known here the options that are given are its keys. The table points into `callback`.
std::vector<Key> callback_schema(CallbackConfig& callback, const std::string& path);

// The keys of one data source, under `path` ("data.train.0").
std::vector<Key> source_schema(DataSource& source, const std::string& path);

// The keys of a set of samples, under `path` ("eval.sets.0").
std::vector<Key> set_schema(EvalSet& set, const std::string& path);
// The kinds of sets that have the key of that name; empty: all of them.
std::vector<std::string> kinds_with_key(const std::string& name);

// The advice for a key that is not in `keys`: "the nearest valid key is optimizer.lr", or the keys of its
// section.
std::string suggestion(const std::vector<Key>& keys, const std::string& unknown_path);

// Says whether `path` is a section, which is the beginning of other keys.
bool is_section(const std::vector<Key>& keys, const std::string& path);

const Key* find_key(const std::vector<Key>& keys, const std::string& path);

// The names directly below `section`, in the table's order: "name, lr, betas".
std::string names_in(const std::vector<Key>& keys, const std::string& section);

}  // namespace collie::config
