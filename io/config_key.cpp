// Describes and checks values by one line of the schema's table.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/config_schema.hpp"
#include "io/config_values.hpp"
#include "io/optimizer_options.hpp"

namespace collie::config {

namespace {

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

template <class Item>
std::string list_of(const std::vector<Item>& items) {
  return yaml_of(nlohmann::json(items));
}

template <class Item>
std::string list_words(const std::vector<Item>& items) {
  std::string text;
  for (const Item& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

// A value as a message shows it.
std::string in_words(const Key& key) {
  if (const auto* text = std::get_if<std::string*>(&key.target))
    return fmt::format("'{}'", shortened(**text));
  if (const auto* number = std::get_if<double*>(&key.target)) return fmt::format("{}", **number);
  if (const auto* partition = std::get_if<PartitionTarget>(&key.target);
      partition && !partition->name->empty())
    return fmt::format("'{}'", shortened(*partition->name));
  return shortened(key.yaml());
}

std::string number_words(const Key& key, const std::string& kind) {
  return kind + key.range.words();
}

std::string text_words(const Key& key) {
  if (key.valid.empty()) return "a text";
  std::string words = key.valid.size() == 1 ? key.valid.front() : "one of " + list_words(key.valid);
  if (!key.valid_later.empty()) words += fmt::format(" (not supported yet: {})", list_words(key.valid_later));
  return words;
}

std::string option_words(const Key& key, const OptionTarget& target) {
  const std::string words =
      std::visit(Overloaded{
                     [](bool) -> std::string { return "true or false"; },
                     [&](int64_t) { return number_words(key, "a whole number"); },
                     [&](double) { return number_words(key, "a number"); },
                     [&](const std::string&) { return text_words(key); },
                     [&](const std::vector<double>& numbers) {
                       return number_words(key, fmt::format("a list of {} numbers, each", numbers.size()));
                     },
                 },
                 target.option.initial);
  return target.option.nullable() ? words + ", or null," : words;
}

// Of one group, what a run computes with.
nlohmann::json group_json(const OptimizerConfig& optimizer, const OptimizerGroup& group) {
  nlohmann::json values{{"match", group.match}, {"name", rule_of(optimizer, group)}};
  const OptionValues in_force = options_in_force(optimizer, group);
  for (const auto& [name, value] : in_force.all())
    std::visit([&, &name = name](const auto& number) { values[name] = number; }, value);
  // Where that makes no difference it is left out, so that what earlier versions recorded stays equal.
  if (!optimizer.decay_norms_and_biases && group.options.has("weight_decay"))
    values["decays_norms_and_biases"] = true;
  return values;
}

// Of one group, what was given.
std::string group_yaml(const OptimizerConfig& optimizer, OptimizerGroup group) {
  std::string text;
  for (const Key& key : group_schema(optimizer, group, "")) {
    const auto* option = std::get_if<OptionTarget>(&key.target);
    if (option != nullptr ? !option->values->has(option->option.name) : key.yaml() == "null") continue;
    text += (text.empty() ? "" : ", ") + key.path.substr(1) + ": " + key.yaml();
  }
  return "{" + text + "}";
}

// The name alone, or with the options that were given.
std::string callback_yaml(CallbackConfig callback) {
  if (callback.options.all().empty()) return yaml_of(callback.name);
  std::string text = "name: " + yaml_of(callback.name);
  for (const Key& key : callback_schema(callback, "")) {
    const auto* option = std::get_if<OptionTarget>(&key.target);
    if (option != nullptr && option->values->has(option->option.name))
      text += ", " + key.path.substr(1) + ": " + key.yaml();
  }
  return "{" + text + "}";
}

// Of one metric of a set, what was given.
std::string metric_yaml(MetricConfig metric) {
  if (!metric_declarations().contains(metric.name) || metric.options.all().empty())
    return yaml_of(metric.name);
  std::string text = "{name: " + yaml_of(metric.name);
  for (const Key& key : option_schema(metric_declarations().find(metric.name).options, metric.options, ""))
    if (const auto& option = std::get<OptionTarget>(key.target); option.values->has(option.option.name))
      text += ", " + key.path.substr(1) + ": " + key.yaml();
  return text + "}";
}

[[noreturn]] void refuse(const Key& key, const std::string& place, const std::string& found) {
  throw UserError("{}: found {}; {} is wanted", place, found, key.wanted());
}

void check_text(const Key& key, const std::string& text, const std::string& place) {
  const auto is_in = [&](const std::vector<std::string>& texts) {
    return std::find(texts.begin(), texts.end(), text) != texts.end();
  };
  if (key.valid.empty() || is_in(key.valid)) return;
  if (is_in(key.valid_later))
    throw UserError("{}: {} is not supported yet; only {} {}", place, text, list_words(key.valid),
                    key.valid.size() == 1 ? "is" : "are");
  refuse(key, place, fmt::format("'{}'", shortened(text)));
}

void check_length(const std::string& text, const std::string& place) {
  if (text.size() > longest_config_text)
    throw UserError("{}: a text of {} bytes; at most {} are wanted", place, text.size(), longest_config_text);
}

void check_partition(const Key& key, const PartitionTarget& partition, const std::string& place) {
  if (!partition.name->empty() && !partition.list->empty())
    throw UserError("{}: found '{}' and a list; one of the two is wanted", place, shortened(*partition.name));
  if (!partition.name->empty()) return check_text(key, *partition.name, place);
  if (partition.list->empty()) refuse(key, place, "an empty list");
  for (const int layers : *partition.list)
    if (!key.range.holds(layers)) refuse(key, place, fmt::format("{} in the list", layers));
}

void check_numbers(const Key& key, const std::vector<double>& numbers, const std::string& place) {
  for (const double number : numbers)
    if (!std::isfinite(number) || !key.range.holds(number))
      refuse(key, place, fmt::format("{} in the list", number));
}

template <class Number>
void check_number(const Key& key, Number number, const std::string& place) {
  if (!std::isfinite(static_cast<double>(number)) || !key.range.holds(static_cast<double>(number)))
    refuse(key, place, fmt::format("{}", number));
}

void check_option(const Key& key, const OptionTarget& option, const std::string& place) {
  const OptionValue* const value = option.value();
  if (value == nullptr) return;
  if (value->index() != option.option.initial.index()) return;  // check_options() refuses it
  std::visit(Overloaded{
                 [](bool) {},
                 [&](int64_t number) { check_number(key, number, place); },
                 [&](double number) { check_number(key, number, place); },
                 [&](const std::string& text) {
                   check_length(text, place);
                   check_text(key, text, place);
                 },
                 [&](const std::vector<double>& numbers) {
                   if (numbers.size() != std::get<std::vector<double>>(option.option.initial).size())
                     refuse(key, place, fmt::format("{} numbers", numbers.size()));
                   check_numbers(key, numbers, place);
                 },
             },
             *value);
}

void check_valid(const Key& key, const std::string& place) {
  std::visit(Overloaded{
                 [](const bool*) {},
                 [](const std::vector<DataSource>*) {},
                 [](const std::vector<EvalSet>*) {},
                 [](const std::vector<MetricConfig>*) {},
                 [&](const std::string* text) {
                   check_length(*text, place);
                   if (!key.nullable || !text->empty()) check_text(key, *text, place);
                 },
                 [&](const std::optional<int64_t>* number) {
                   if (*number) check_number(key, **number, place);
                 },
                 [&](const std::vector<double>* numbers) { check_numbers(key, *numbers, place); },
                 [&](const std::vector<std::string>* texts) {
                   for (const std::string& text : *texts) {
                     check_length(text, place);
                     if (text.empty()) refuse(key, place, "an empty name");
                   }
                 },
                 [](const nlohmann::json*) {},
                 [&](const PatternNumbers* numbers) {
                   for (const auto& [pattern, number] : numbers->items)
                     check_number(key, number, fmt::format("{}.{}", place, shortened(pattern)));
                 },
                 [](const GroupsTarget&) {},     // check_options() does
                 [](const CallbacksTarget&) {},  // check_callbacks() does
                 [&](const PartitionTarget& partition) { check_partition(key, partition, place); },
                 [&](const OptionTarget& option) { check_option(key, option, place); },
                 [&](const auto* number) { check_number(key, *number, place); },
             },
             key.target);
}

}  // namespace

Key Key::at_least(double number) const {
  Key key = *this;
  key.range.least = number;
  return key;
}

Key Key::above(double number) const {
  Key key = at_least(number);
  key.range.least_excluded = true;
  return key;
}

Key Key::at_most(double number) const {
  Key key = *this;
  key.range.most = number;
  return key;
}

Key Key::from_to(double least, double most) const {
  return at_least(least).at_most(most);
}

Key Key::from_to_below(double least, double most) const {
  Key key = from_to(least, most);
  key.range.most_excluded = true;
  return key;
}

Key Key::one_of(std::vector<std::string> texts) const {
  Key key = *this;
  key.valid = std::move(texts);
  return key;
}

Key Key::not_yet(std::vector<std::string> texts) const {
  Key key = *this;
  key.valid_later = std::move(texts);
  return key;
}

Key Key::only(std::string value) const {
  Key key = *this;
  key.only_value = std::move(value);
  return key;
}

Key Key::or_integer() const {
  Key key = *this;
  key.takes_integers = true;
  return key;
}
Key Key::or_null() const {
  Key key = *this;
  key.nullable = true;
  return key;
}

Key Key::alone(std::string text) const {
  Key key = *this;
  key.in_place_of_list = std::move(text);
  return key;
}

Key Key::warn_if_true(std::string warning) const {
  Key key = *this;
  key.warning_if_true = std::move(warning);
  return key;
}

Key Key::doc(std::string line) const {
  Key key = *this;
  key.description = std::move(line);
  return key;
}

Key Key::fingerprinted() const {
  Key key = *this;
  key.in_fingerprint = true;
  return key;
}

Key Key::formerly(nlohmann::json value) const {
  Key key = *this;
  key.in_older_runs = std::move(value);
  return key;
}

Key Key::also_known_as(std::vector<std::string> names) const {
  Key key = *this;
  key.aliases = std::move(names);
  return key;
}

std::string Key::wanted() const {
  return std::visit(
      Overloaded{
          [](const bool*) -> std::string { return "true or false"; },
          [&](const std::string*) { return text_words(*this); },
          [&](const double*) { return number_words(*this, "a number"); },
          [&](const std::optional<int64_t>*) { return number_words(*this, "a whole number") + ", or null,"; },
          [&](const std::vector<double>*) { return number_words(*this, "a list of numbers, each"); },
          [&](const std::vector<std::string>*) -> std::string {
            return in_place_of_list.empty() ? "a list of names"
                                            : fmt::format("a list of names, or {},", in_place_of_list);
          },
          [](const nlohmann::json* json) -> std::string { return json->is_array() ? "a list" : "a map"; },
          [](const PatternNumbers*) -> std::string { return "a map of patterns and numbers above 0"; },
          [](const std::vector<DataSource>*) -> std::string {
            return "a list of sources, such as [{path: \"data/*.txt\"}],";
          },
          [](const std::vector<EvalSet>*) -> std::string {
            return "a list of sets, such as [{name: held_out, path: \"data/*.txt\"}],";
          },
          [](const std::vector<MetricConfig>*) -> std::string {
            return "a list of metrics, such as [accuracy, {name: f_beta, beta: 2.0}],";
          },
          [&](const PartitionTarget&) { return text_words(*this) + ", or a list of layers per stage,"; },
          [](const GroupsTarget&) -> std::string {
            return "a list of groups, such as [{match: [\"*norm*\"], weight_decay: 0.0}],";
          },
          [](const CallbacksTarget&) -> std::string {
            return "a list of callbacks, such as [load_best, {name: early_stopping, patience: 3}],";
          },
          [&](const OptionTarget& option) { return option_words(*this, option); },
          [&](const auto*) { return number_words(*this, "a whole number"); },
      },
      target);
}

nlohmann::json Key::json() const {
  return std::visit(
      Overloaded{
          [](const std::optional<int64_t>* number) {
            return *number ? nlohmann::json(**number) : nlohmann::json();
          },
          [](const std::vector<DataSource>* sources) { return nlohmann::json(sources->size()); },
          [](const std::vector<EvalSet>* sets) { return nlohmann::json(sets->size()); },
          [](const std::vector<MetricConfig>* metrics) { return nlohmann::json(metrics->size()); },
          [](const PatternNumbers* numbers) {
            nlohmann::json all = nlohmann::json::array();
            for (const auto& [pattern, number] : numbers->items) all.push_back({pattern, number});
            return all;
          },
          [](const PartitionTarget& partition) {
            return partition.name->empty() ? nlohmann::json(*partition.list)
                                           : nlohmann::json(*partition.name);
          },
          [](const GroupsTarget& groups) {
            nlohmann::json all = nlohmann::json::array();
            for (const OptimizerGroup& group : groups.optimizer->groups)
              all.push_back(group_json(*groups.optimizer, group));
            return all.empty() ? all : nlohmann::json(all.dump());  // one value to compare
          },
          [](const CallbacksTarget& list) {
            nlohmann::json all = nlohmann::json::array();
            for (const CallbackConfig& callback : *list.callbacks) all.push_back(callback_yaml(callback));
            return all;
          },
          [](const OptionTarget& option) {
            const OptionValue* const in_force = option.value();
            if (in_force == nullptr) return nlohmann::json();
            return std::visit([](const auto& value) { return nlohmann::json(value); }, *in_force);
          },
          [](const auto* value) { return nlohmann::json(*value); },
      },
      target);
}

std::string Key::yaml() const {
  return std::visit(
      Overloaded{
          [](const bool* value) -> std::string { return *value ? "true" : "false"; },
          [&](const std::string* text) -> std::string {
            if (nullable && text->empty()) return "null";
            // A valid text is read as that, even if it looks like a number.
            return std::count(valid.begin(), valid.end(), *text) ? *text : yaml_of(*text);
          },
          [](const double* number) { return yaml_of(*number); },
          [](const std::optional<int64_t>* number) -> std::string {
            return *number ? fmt::format("{}", **number) : "null";
          },
          [](const std::vector<double>* numbers) { return list_of(*numbers); },
          [&](const std::vector<std::string>* texts) {
            return texts->size() == 1 && texts->front() == in_place_of_list ? in_place_of_list
                                                                            : list_of(*texts);
          },
          [](const nlohmann::json* json) { return yaml_of(*json); },
          [](const std::vector<DataSource>* sources) { return fmt::format("{} sources", sources->size()); },
          [](const std::vector<EvalSet>* sets) -> std::string {
            return sets->empty() ? "[]" : fmt::format("{} sets", sets->size());
          },
          [](const std::vector<MetricConfig>* metrics) {
            std::vector<std::string> all;
            for (const MetricConfig& metric : *metrics) all.push_back(metric_yaml(metric));
            return fmt::format("[{}]", list_words(all));
          },
          [](const PatternNumbers* numbers) {
            std::string text;
            for (const auto& [pattern, number] : numbers->items)
              text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", yaml_of(pattern), yaml_of(number));
            return "{" + text + "}";
          },
          [](const PartitionTarget& partition) {
            return partition.name->empty() ? list_of(*partition.list) : yaml_of(*partition.name);
          },
          [](const GroupsTarget& groups) {
            std::vector<std::string> all;
            for (const OptimizerGroup& group : groups.optimizer->groups)
              all.push_back(group_yaml(*groups.optimizer, group));
            return fmt::format("[{}]", list_words(all));
          },
          [](const CallbacksTarget& list) {
            std::vector<std::string> all;
            for (const CallbackConfig& callback : *list.callbacks) all.push_back(callback_yaml(callback));
            return fmt::format("[{}]", list_words(all));
          },
          [&](const OptionTarget& option) {
            const OptionValue* const value = option.value();
            const auto* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
            return text != nullptr && std::count(valid.begin(), valid.end(), *text) ? *text : yaml_of(json());
          },
          [](const auto* number) { return fmt::format("{}", *number); },
      },
      target);
}

void Key::check(const std::string& place) const {
  check_valid(*this, place);
  if (only_value && yaml() != *only_value)
    throw UserError("{}: {} is not supported yet; only {} is", place, in_words(*this), *only_value);
}

}  // namespace collie::config
