// Values with a state: namespaces.
#pragma once

#include "io/jinja/value.hpp"

namespace collie::jinja {

// What namespace() makes: attributes that {% set NAME.ATTRIBUTE = ... %} changes.
class Namespace : public Object {
 public:
  std::string_view type_name() const override { return "Namespace"; }
  std::optional<Value> attribute(std::string_view name) override {
    const Value* value = entries_.find(name);
    return value == nullptr ? std::nullopt : std::optional<Value>(*value);
  }
  void set(const std::string& name,
           Value value);  // throws Problem for a name that begins with "_", as transformers
  const Dict& entries() const { return entries_; }
  void clear() { entries_ = Dict(); }

 private:
  Dict entries_;
};

}  // namespace collie::jinja
