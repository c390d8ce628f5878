// The variables of a block. A block sees those of the blocks around it.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "io/jinja/value.hpp"

namespace collie::jinja {

struct Scope {
  explicit Scope(std::shared_ptr<Scope> its_parent) : parent(std::move(its_parent)) {}

  std::shared_ptr<Scope> parent;  // or null
  std::unordered_map<std::string, Value> variables;

  // The value of a name here or around; null if there is none.
  const Value* find(const std::string& name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get())
      if (const auto found = scope->variables.find(name); found != scope->variables.end())
        return &found->second;
    return nullptr;
  }
};

}  // namespace collie::jinja
