// An event is what a run tells its sinks about one step: a set of named values. It does not know what they
// mean, so that evaluators and callbacks can add values of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace collie {

// nullptr: the step has no such value, although others have (the loss of a step without targets).
using EventValue = std::variant<std::nullptr_t, int64_t, double, std::string>;

struct Event {
  int64_t step = 0;  // from 1; 0: before the first step
  // Each name occurs once; sinks keep the order. A name is "loss", "eval_loss", or, of a set or a program of
  // its own, "gsm8k/accuracy".
  std::vector<std::pair<std::string, EventValue>> values;
  // Replaces the event that was the last one, which had the same step.
  bool amended = false;
  // Numbers of single ranks, with labels. They are there only if a sink that has labels wants them.
  struct Part {
    std::string name;
    std::vector<std::pair<std::string, std::string>> labels;
    double value = 0;
  };
  std::vector<Part> parts{};

  // Adds a value after the others. The event must not have the name yet.
  void add(std::string name, EventValue value);
  // Null if the event does not have the name.
  const EventValue* find(std::string_view name) const;
  // The number of that name. It is empty if the event does not have the name, or has no number there.
  std::optional<double> number(std::string_view name) const;
};

// The value as JSON. Numbers are printed so that they read back exactly; NaN and the infinities, which JSON
// lacks, become null when they are printed.
nlohmann::ordered_json json_of(const EventValue& value);

// One object: "step", then the values by their names, in their order.
nlohmann::ordered_json json_of(const Event& event);

}  // namespace collie
